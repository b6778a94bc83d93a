"""Examples that are one ordinary loop each, run as a user would run them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.programs import EXIT_WITHOUT_SHUTDOWN

from lrtrack.journal.layout import Layout
from lrtrack.records import History
from lrtrack.shipping.undelivered import undelivered
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run an example in the working directory."""
    return subprocess.run(
        [*(command or [sys.executable, "-P"]), str(EXAMPLES / name)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def histories(store: str, within_seconds: Any) -> Callable[[str], list[History]]:
    """What an experiment in the store has, newest first, once all is delivered."""

    def read(experiment: str) -> list[History]:
        within_seconds(120, lambda: undelivered(Layout(Path(".lrtrack").absolute())) == [])
        return list(MlflowTracker().histories(Query(experiment, store, cache=False)))

    return read


def test_accumulation_and_mixed_precision(histories) -> None:
    """One record an optimizer step: the mean loss, and norms before and after clipping."""
    done = run("accumulation_amp.py")
    (found,) = histories("amp")

    assert done.returncode == 0, done.stderr
    assert found.steps.tolist() == list(range(200))
    losses, norms = (found.series(name)[1] for name in ("loss", "grad_norm"))
    before = found.series("grad_norm_preclip")[1]
    assert 1.5 < losses[0] < 3.5  # of ten classes ln 10, neither added up nor scaled
    assert losses[-1] < 0.5
    assert norms == pytest.approx(np.minimum(before, 1.0), rel=1e-4)


def test_rates_by_hand(histories) -> None:
    """Two schedules that no scheduler object names are two schedules of three runs each."""
    done = run("rates_by_hand.py")
    runs = [(history.run.schedule.label, history.run.seed) for history in histories("by-hand")]

    assert done.returncode == 0, done.stderr
    assert sorted(runs) == [
        (f"≈ {text}", seed)
        for text in (
            "warmup(lasts=20, start=0.05, steps=19) → cosine(steps=180)",
            "warmup(lasts=20, start=0.05, steps=19) → linear(end=0, start=1, steps=180)",
        )
        for seed in range(3)
    ]


def test_gan(histories) -> None:
    """Both optimizers' metrics are in one run, the user's own, each under its prefix."""
    done = run("gan.py")
    blocks = {history.run.prefix: history for history in histories("gan")}

    assert done.returncode == 0, done.stderr
    assert set(blocks) == {"generator/", "discriminator/"}
    assert len({history.remote_id for history in blocks.values()}) == 1
    for prefix, first in (("generator/", 1e-3), ("discriminator/", 2e-3)):
        for metric in ("lr", "loss", "grad_norm"):
            assert blocks[prefix].series(prefix + metric)[0].tolist() == list(range(200))
        assert blocks[prefix].series(f"{prefix}lr")[1][0] == first


def test_resume(histories) -> None:
    """Two programs, one run, and the second replaces the two steps that it makes again."""
    broken = run("resume.py")
    (before,) = histories("resume")
    done = run("resume.py")
    (after,) = histories("resume")

    assert (broken.returncode, before.state, len(before.steps)) == (1, "FAILED", 62)
    assert done.returncode == 0, done.stderr
    assert (after.id, after.state) == (before.id, "FINISHED")
    assert after.steps.tolist() == list(range(100))
    assert after.series("loss")[1][:60].tolist() == before.series("loss")[1][:60].tolist()
    assert after.fields()["rewound"] == "60-61"
    assert not Path("resume.pt").exists()


def test_time_decay(histories) -> None:
    """The rate halves every half second, whatever the step rate."""
    done = run("time_decay.py")
    found = histories("time")

    assert done.returncode == 0, done.stderr
    assert sorted(history.run.seed for history in found) == [0, 1]
    for history in found:
        halvings = np.log2(history.series("lr")[1][1:])
        slope, _ = np.polyfit(history.times[1:], halvings, 1)
        assert slope == pytest.approx(-1 / 0.5, rel=0.1)


def test_histories(histories) -> None:
    """Frames of what the quick start left, and a file of every step."""
    quick = run("quickstart.py")
    histories("quickstart")
    done = run("histories.py")
    with Path("losses.csv").open() as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))

    assert (quick.returncode, done.returncode) == (0, 0), done.stderr
    assert len(rows) == 3 * 2 * 300
    assert {row["schedule"].partition("(")[0] for row in rows} == {
        "CosineAnnealingLR",
        "OneCycleLR",
        "StepLR",
    }
    assert [line.split()[2] for line in done.stdout.splitlines()[1:4]] == ["2", "2", "2"]


@pytest.mark.parametrize(("name", "steps", "clipped"), [("ddp", 116, False), ("fsdp2", 100, True)])
def test_several_processes(histories, clean_place, name: str, steps: int, clipped: bool) -> None:
    """Under the torchrun that the first line names: one run, with norms of whole gradients."""
    program = clean_place / f"{name}.py"
    program.write_text((EXAMPLES / program.name).read_text() + EXIT_WITHOUT_SHUTDOWN)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = run(str(program), *launch, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    (found,) = histories(name)

    assert done.returncode == 0, done.stderr
    assert (found.steps.tolist(), found.run.world_size) == (list(range(steps)), 2)
    assert found.series("loss")[1][-1] < 1.0
    if clipped:
        before = found.series("grad_norm_preclip")[1]
        assert found.series("grad_norm")[1] == pytest.approx(np.minimum(before, 1), rel=1e-3)
