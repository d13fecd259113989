"""The report of agents that track time: its table, its picture and its animation."""

import jax
import numpy as np
import pytest
from fake_runs import NAN, SEEDS, arithmetic, cell_of, keep_figures, page_of, run_of, save_whole, store
from matplotlib import animation
from PIL import Image

from experiments.faults import ConfigError
from experiments.reports import time_tracking
from experiments.reports.trained import best_of_cell
from experiments.settings.build import network_of
from nalu_jax.tasks.grid_world import GridWorld

PAGE = page_of("grid_world")
NUMBERS = range(5, 26)


def tracked(folder, rewards, on_time=0.5, **axes):
    """A finished cell of four seeds, whose rewards are these of its number, one of each seed."""
    columns = {"seed": range(SEEDS), "solved": [0] * SEEDS, "diverged_at": [NAN] * SEEDS}
    for prefix in ("", "sampled_"):
        for number in NUMBERS:
            columns[f"{prefix}reward_{number}"] = rewards(number)
            columns[f"{prefix}on_time_{number}"] = [on_time] * SEEDS
    return cell_of(folder, PAGE, axes, columns)


def run_in(folder):
    """An LSTM that arrives at 12 whatever T, its seeds alike; and one with a NAC whose seeds differ."""
    alone = tracked(folder, lambda number: [1 - max(number - 12, 0) / 7] * SEEDS, wiring="none")
    wired = tracked(folder, lambda number: (0.7, 0.9, 0.9, 1.1), on_time=1.0, unit="nac", wiring="feedback")
    return run_of([alone, wired])


def test_the_table_has_means_over_seeds_and_numbers_with_intervals_beside_the_published_ones(tmp_path):
    ours, wired, nac, a3c = time_tracking.rows(run_in(tmp_path))
    assert [row["agent"] for row in (ours, wired, nac, a3c)] == [
        "LSTM", "LSTM + NAC", "A3C + NAC, published", "A3C, published",
    ]  # fmt: skip
    assert ours["reward, T 5–12"] == "1.00 [1.00, 1.00]"
    assert ours["reward, T 13–19"] == "0.43 [0.43, 0.43]"  # 1 - (1 + ... + 7) / 7 / 7
    # Deviation 0.1633 of 0.7, 0.9, 0.9, 1.1, and 1.96 · 0.1633 / 2 = 0.16.
    assert wired["reward, T 20–25"] == "0.90 [0.74, 1.06]"
    assert (ours["on time, T 13–19"], wired["on time, T 13–19"]) == ("50%", "100%")
    published = [0.985, 0.944, 0.915, 0.888, 0.849, 0.827, 0.72]
    assert nac["reward, T 13–19"] == f"{np.mean(published):.2f}" and nac["reward, T 5–12"] == "–"
    assert a3c["reward, T 20–25"] == f"{np.mean([-0.08, -0.24, -0.41, -0.57, -0.73, -0.88]):.2f}"


def test_the_lines_are_means_and_the_points_those_of_the_paper(tmp_path, monkeypatch):
    figures = keep_figures(monkeypatch, time_tracking)
    save_whole(monkeypatch)
    time_tracking.draw(run_in(tmp_path), tmp_path)
    (figure,) = figures
    reward, on_time = figure.axes[:2]
    alone, wired, *points = reward.get_lines()
    np.testing.assert_allclose(alone.get_ydata(), [1 - max(number - 12, 0) / 7 for number in NUMBERS])
    np.testing.assert_allclose(wired.get_ydata(), 0.9)
    assert [(len(line.get_xdata()), line.get_ydata()[9]) for line in points] == [(16, 0.72), (16, 0.077)]
    assert {line.get_ydata()[0] for line in on_time.get_lines()} == {50.0, 100.0}
    assert (tmp_path / "time_tracking.png").exists() and (tmp_path / "time_tracking.pdf").exists()


def that_goes_up(cell):
    """The cell, its best seed an agent that always takes the first action: all parameters are 0 but its logit."""
    network = network_of(cell.cell.config, cell.task)
    params = jax.eval_shape(network.init, jax.random.key(0), cell.task.example)["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    params["heads"]["bias"][0] = 1
    return store(cell, params)


@pytest.mark.slow
@pytest.mark.skipif(not animation.writers.is_available("pillow"), reason="Pillow writes it")
def test_the_animation_shows_each_agent_from_the_same_start_until_all_episodes_have_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(time_tracking, "SHOWN", (8, 20))
    run = run_in(tmp_path)
    run = run._replace(cells=[that_goes_up(cell._replace(result=cell.result | {"best_seed": 2})) for cell in run.cells[:1]])
    (row, column), target = np.asarray(run.cells[0].task.task.starts[0])
    assert column != target[1]  # so that it never arrives
    first, second = time_tracking.films(best_of_cell(run.cells[0], "LSTM"), (8, 20))
    assert len(first) == len(second) == 31  # the start and the steps up to the time limit
    for t, picture in enumerate(first):
        grey = np.argwhere(np.all(picture == 0.5, axis=-1))
        assert (grey[0] * 5 // 56).tolist() == (grey[-1] * 5 // 56).tolist() == [max(row - t, 0), column]
    time_tracking.animate(run, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as image:
        # Frames that are alike are one that lasts longer.
        assert image.n_frames >= 2 and image.size[0] == 160


def test_another_task_is_refused(tmp_path):
    time_tracking.check(GridWorld())
    with pytest.raises(ConfigError, match="time_tracking is of the task grid_world alone"):
        time_tracking.check(arithmetic(tmp_path, {"unit": "nac", "operation": "add"}).task)
