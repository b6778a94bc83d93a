"""The same filters select the same runs, whichever tracker the runs are read from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.errors import NothingFound, UsageError
from lrtrack.filters import Filter
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.trackers.mlflow import search

#: Filter to the seeds of the runs it selects.
SELECTED = {
    "seed < 2": [0, 1],
    "seed != 1": [0, 2],
    "name = warm 1": [1],
    "name ~ ^warm": [0, 1],
    "state = FINISHED": [0, 1],
    "state != finished": [2],
    "state = FAILED": [2],
    "schedule = StepLR": [0, 2],
    "scheduler.step_size = 3.0": [0, 2],
    "scheduler.gamma >= 0.5": [0, 1],
    "optimizer.lr <= 0.1": [0, 1],
    "optimizer = SGD": [0, 1, 2],
    "config.model.depth = 2": [0],
    "depth = 8": [2],
    "config.amp = true": [1],
    "config.data = null": [0, 1],
    "config.data = \"it's 10\"": [2],
    "config.label = \"1\"": [1],
    "tags.phase = warm": [0, 1],
    "phase ~ old|new": [2],
    "tags.phase != warm": [2],
    "tags.only = \"it's ; odd\"": [1],
    "device.type = cpu": [0, 1, 2],
    "group = g": [1],
    "seed = 9": [],
}  # fmt: skip

RUNS = (
    {"name": "warm 0", "config": {"model": {"depth": 2}}, "tags": {"phase": "warm"}},
    {"name": "warm 1", "config": {"amp": True, "label": "1"}, "group": "g",
     "tags": {"phase": "warm", "only": "it's ; odd"}},
    {"name": "third", "config": {"depth": 8, "data": "it's 10"}, "tags": {"phase": "old"}},
)  # fmt: skip


def train(seed: int, tracker: object) -> None:
    """Track two steps of the run with this seed; the last run fails."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=[0.1, 0.01, 1.0][seed])
    schedulers = torch.optim.lr_scheduler
    scheduler = (
        schedulers.ExponentialLR(optimizer, 0.9)
        if seed == 1
        else schedulers.StepLR(optimizer, 3, gamma=[0.5, 0, 0.1][seed])
    )
    run = lrtrack.track(
        optimizer, scheduler, tracker=tracker, experiment="x", seed=seed, norms="off",
        flush_timeout=300.0, **RUNS[seed],
    )  # fmt: skip
    with run as tracked:
        for _ in range(2):
            optimizer.step()
            tracked.log(loss=1.0)
            scheduler.step()
        if seed == 2:
            raise KeyError("the training fails")


@pytest.fixture
def stored(
    wandb_server: object, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """Three runs, each in four trackers: the trackers by name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(clean_place / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{clean_place}/mlflow.db")
    memory = MemoryTracker()
    for seed in range(len(RUNS)):
        try:
            train(seed, [memory, "mlflow", "wandb"])
        except KeyError:
            assert seed == 2
    return {"memory": memory, "local": "local", "mlflow": "mlflow", "wandb": "wandb"}


@pytest.mark.filterwarnings("ignore::lrtrack.errors.LRTrackWarning")
def test_filters_mean_the_same_for_every_tracker(stored):
    """Each filter selects the same runs, and an unknown field is the same error, everywhere."""
    selected = {
        (text, name): sorted(history.run.seed or 0 for history in fetch("x", tracker=tracker,
                                                                       filters=text))
        for text in SELECTED
        for name, tracker in stored.items()
    }  # fmt: skip

    assert selected == {(text, name): SELECTED[text] for text in SELECTED for name in stored}
    for tracker in stored.values():
        with pytest.raises(UsageError, match=r"Did you mean 'tags.phase'"):
            fetch("x", tracker=tracker, filters=["tags.phas = warm", "name = third"])


def test_a_tracker_without_a_language_of_its_own_says_so(clean_place):
    """A raw filter for local journals is an error that names `--filter`."""
    with pytest.raises(UsageError, match=r"local tracker has no filter language.* use --filter "):
        fetch("x", tracker="local", filter_raw="seed = 1")
    with pytest.raises(NothingFound):
        fetch("x", tracker="local", filters="seed = 1")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("state = finished", "attributes.status != 'FAILED'"),
        ("state != FINISHED", "attributes.status != 'FINISHED'"),
        ("state = FAILED", "attributes.status != 'FINISHED'"),
        ("state != FAILED", None),
        ("name = warm 1", "attributes.run_name = 'warm 1'"),
        ("tags.phase = warm", "tags.`phase` = 'warm'"),
        ("device.type = cuda", "tags.`lrtrack.device.type` = 'cuda'"),
        ("tags.phase != warm", None),
        ("tags.phase = 1", None),
        ("tags.phase = \"it's\"", None),
        ("tags.phase = \"a;b\"", None),
        ('"tags.a`b" = c', None),
        ('"tags.a?b" = c', None),
        ("tags.phase = " + "a" * 251, None),
        ("seed = 1", None),
        ("config.depth = 2", None),
        ("phase = warm", None),
    ],
)  # fmt: skip
def test_what_mlflow_narrows_its_search_by(text, expression):
    """MLflow narrows by status, name, device and tags, where its language means the same."""
    expected = [] if expression is None else [expression]

    assert search.expressions([Filter.parse(text)], everything=True) == (
        [] if text.startswith("device.type") else expected
    )
    assert search.expressions([Filter.parse(text)], everything=False) == [
        "tags.`lrtrack.version` != ''", *expected
    ]  # fmt: skip
