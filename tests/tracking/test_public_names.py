"""`TrackedRun` and `track()` offer users what is documented, and nothing else."""

from __future__ import annotations

import inspect

import pytest
import torch

import lrtrack
from lrtrack.tracking.options import Options

DOCUMENTED = [
    "diagnoses",
    "end",
    "flush",
    "id",
    "load_state_dict",
    "log",
    "loss",
    "record",
    "state_dict",
    "step",
    "summary",
    "url",
]


def test_a_run_has_the_documented_names_only(training) -> None:
    """The public names of an open run are exactly those that the documentation lists."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        names = [name for name in dir(run) if not name.startswith("_")]

    assert names == DOCUMENTED


def test_each_option_of_track_has_a_field() -> None:
    """`Options` has one field for each argument of `track()`, and the kind of the run."""
    arguments = list(inspect.signature(lrtrack.track).parameters)

    assert [*arguments, "kind"] == list(Options.__dataclass_fields__)


def test_options_are_given_by_keyword() -> None:
    """A positional option is an error, so that two options cannot be confused."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with pytest.raises(TypeError, match="positional"):
        lrtrack.track(optimizer, None, "local")  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        Options(optimizer, None)  # type: ignore[misc, call-arg]
