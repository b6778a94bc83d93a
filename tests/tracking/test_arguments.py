"""Argument values: what `track()` accepts, every reader of its journal can read."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import History


class Unspeakable:
    """An object whose text cannot be made."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class Colour(enum.Enum):
    """An enumeration, as configs contain them."""

    RED = 1


CYCLIC: dict[str, Any] = {}
CYCLIC["me"] = CYCLIC
ODD = [
        None, True, 0, -1, 3, 2**70, 10**5000, 0.5, float("nan"), float("inf"), "", "a", "\ud800",
        "*", "../../etc/passwd", b"\xff", Path("a/b"), [], ["a", "b"], {}, {"a": None, 1: 2},
        np.int64(3), np.float64(3), np.str_("a"), np.bool_(True), torch.tensor(3), torch.ones(2),
        torch.ones(2, requires_grad=True) * 2, Colour.RED, Unspeakable(), threading.Lock(), object,
        CYCLIC, {"a": Unspeakable()}, {"a": [{"b": threading.Lock()}]}, {"": "", "\ud800": "b"},
]  # fmt: skip
NAMES = [
    "experiment", "name", "group", "seed", "config", "tags", "prefix", "every", "resume",
    "flush_timeout", "norms", "updates", "loss_over", "norms_every", "wandb_rows",
]  # fmt: skip


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, len(ODD) - 1), min_size=1, max_size=3)
)
def test_what_the_block_takes_can_be_read(clean_place: Path, chosen: dict[str, int]) -> None:
    """Any value of any argument gives a clear error before the block or a readable run."""
    options = {name: ODD[at] for name, at in chosen.items()}  # not all have a text to be shown
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    before = set(Layout(clean_place / ".lrtrack").journals())
    try:
        block = lrtrack.track(optimizer, **{"tracker": "local", "flush_timeout": 0, **options})
        with block:
            optimizer.step()
    except UsageError:
        return
    (path,) = set(Layout(clean_place / ".lrtrack").journals()) - before
    table, ending = JournalReader(path).table()

    assert JournalReader(path).run.id == path.stem
    assert table.num_rows == 1
    assert ending is not None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"group": 0}, {"group": "0"}),
        ({"name": Path("a/b")}, {"name": "a/b"}),
        ({"experiment": 12}, {"experiment": "12"}),
        ({"prefix": None}, {"prefix": ""}),
        ({"seed": np.int64(3)}, {"seed": 3}),
        ({"seed": torch.tensor(3)}, {"seed": 3}),
        ({"every": np.int64(1)}, {}),
        ({"updates": np.int64(2)}, {}),
        ({"tags": {"a": None, 1: 2}}, {"tags": {"1": "2"}}),
        ({"config": {"a": {"b": (1, Colour.RED)}}}, {"config": {"a": {"b": [1, "Colour.RED"]}}}),
    ],
    ids=str,
)
def test_what_is_sensible_is_converted(
    local: Callable[[], list[History]], options: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Numbers and paths given as names, and integers of NumPy and torch, are converted."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with lrtrack.track(optimizer, tracker="local", **options):
        optimizer.step()
    run = local()[0].run

    assert {name: getattr(run, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": True}, "seed must be an integer"),
        ({"seed": 2**70}, "seed must be an integer, of at most 64 bits"),
        ({"tags": ["a"]}, "tags must be a mapping"),
        ({"flush_timeout": None}, "flush_timeout must be a number of seconds"),
        ({"resume": "*"}, "resume must be the id of a run"),
        ({"name": b"a"}, "name must be text"),
        ({"name": "\ud800"}, "not valid Unicode"),
        ({"config": {"a": 10**5000}}, "cannot be written as text"),
        ({"config": {"big": "x" * 2**25}}, "The largest value is 'big'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    """The error for an invalid value names the argument and the valid values."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with pytest.raises(UsageError, match=message):
        lrtrack.track(optimizer, tracker="local", **options)
