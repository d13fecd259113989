"""A flipped bit anywhere in the folder of a run is never believed, and the run goes on from what is whole."""

import random
import shutil

import pytest
from test_growing import content, interrupted_at, run

from experiments.running import experiment

pytestmark = pytest.mark.faults

FLIPS = 200
SMALL = {"operations": "add,sub", "steps": 600, "more": ("--config.reports=summary",)}
CELLS = ("linear-add", "linear-sub")
TABLES = ("seeds.csv", "summary.csv", "summary.md")


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """A run with one cell finished, and one stopped at a checkpoint, with an older one."""
    folder = tmp_path_factory.mktemp("half_way") / "run"
    assert run(folder, **SMALL | {"operations": "add"}).code == 0
    for step in (200, 400):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(experiment, "run_group", interrupted_at(step))
            assert run(folder, **SMALL).code == 75
    assert len(list((folder / "linear-sub" / "checkpoints").glob("*.npz"))) == 2
    return folder


def results(folder):
    """What a run is about: the files of its cells and its tables. What a cell's config.json says of changes is left out."""
    kept = {cell: {name: data for name, data in content(folder / cell).items() if name != "config.json"} for cell in CELLS}
    return kept | {name: (folder / name).read_bytes() for name in TABLES}


@pytest.mark.timeout(1200)
def test_of_two_hundred_flipped_bits_none_is_believed_and_every_run_ends_as_the_undisturbed_one(half_way, tmp_path):
    whole = shutil.copytree(half_way, tmp_path / "whole")
    assert run(whole, **SMALL).code == 0
    expected, draw = results(whole), random.Random(17)
    names = sorted(path.relative_to(half_way) for path in half_way.rglob("*") if path.is_file())
    assert {name.name for name in names} >= {"config.json", "result.json", "seeds.csv", "metrics.jsonl", "params.npz"}
    outcomes = {0: 0, 3: 0, 4: 0}
    for i in range(FLIPS):
        folder = shutil.copytree(half_way, tmp_path / "run")
        name = names[i % len(names)]
        data = bytearray((folder / name).read_bytes())
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        data[place] ^= 1 << bit
        (folder / name).write_bytes(data)
        said = run(folder, **SMALL)
        outcomes[said.code] += 1
        if said.code != 0:
            assert f"remove {folder / name.parts[0]}" in said.out + said.err, (name, place, bit, said)
            shutil.rmtree(folder / name.parts[0])
            assert run(folder, **SMALL).code == 0, (name, place, bit)
        assert results(folder) == expected, (name, place, bit)
        shutil.rmtree(folder)
    assert outcomes[0] and outcomes[4], outcomes
