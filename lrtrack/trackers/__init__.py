"""Trackers: where runs are written to and read from, one package per vendor.

Everything that the author of a tracker needs is exported here: what a tracker is (`Tracker`,
`Sink`), what passes through it (`Run`, `History`, `Query`, …), its optional hooks
(`lrtrack.trackers.hooks`), and helpers that trackers share.

base.py         what a tracker and its writing half must have
hooks.py        what they may have besides
access.py       how they are reached, and as whom
registry.py     trackers by name, through the entry-point group `lrtrack.trackers`
local.py        the journals themselves, read
memory.py       runs in this process's memory
per_run.py      reading many runs, of which some cannot be read
shared_runs.py  several blocks in one run
cache.py        copies of finished runs on this machine
causes.py       what the errors of HTTP clients mean, in plain words
mlflow, wandb, tensorboard  one package per vendor
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrtrack.errors import (
        AccessRefused,
        NothingFound,
        PartRefused,
        PartUnavailable,
        SinkLost,
        TrackerError,
        TrackerUnavailable,
        UsageError,
        unknown,
        warn,
    )
    from lrtrack.filters import Filter, no_raw_filters, select
    from lrtrack.journal import history_table
    from lrtrack.records import History, Rewind, Run, State, StepRecord, Target
    from lrtrack.trackers.base import (
        REPORT,
        Progress,
        Publication,
        Query,
        Remote,
        RowAdvice,
        Sink,
        Tracker,
        origin_of,
    )
    from lrtrack.trackers.hooks import (
        AbandonsSteps,
        Access,
        AdvisesRows,
        CompletesRuns,
        GuardsOpenRuns,
        HasAccess,
        HintsAtOpenRuns,
        KeepsProcesses,
        KeepsTemporaryFiles,
        KnowsPhases,
        LocatesRuns,
        OnlyReads,
        OpensChildRuns,
        OpensSeparateRuns,
        Place,
        Publisher,
        RenewsTargets,
        RunGuard,
        TakesSharedUri,
    )
    from lrtrack.trackers.per_run import LeftOut, checked, read_each

#: Module to the names that come from it.
_MODULES = {
    "lrtrack.errors": (
        "AccessRefused",
        "NothingFound",
        "PartRefused",
        "PartUnavailable",
        "SinkLost",
        "TrackerError",
        "TrackerUnavailable",
        "UsageError",
        "unknown",
        "warn",
    ),
    "lrtrack.filters": (
        "Filter",
        "no_raw_filters",
        "select",
    ),
    "lrtrack.journal": ("history_table",),
    "lrtrack.records": (
        "History",
        "Rewind",
        "Run",
        "State",
        "StepRecord",
        "Target",
    ),
    "lrtrack.trackers.base": (
        "REPORT",
        "Progress",
        "Publication",
        "Query",
        "Remote",
        "RowAdvice",
        "Sink",
        "Tracker",
        "origin_of",
    ),
    "lrtrack.trackers.hooks": (
        "AbandonsSteps",
        "Access",
        "AdvisesRows",
        "CompletesRuns",
        "GuardsOpenRuns",
        "HasAccess",
        "HintsAtOpenRuns",
        "KeepsProcesses",
        "KeepsTemporaryFiles",
        "KnowsPhases",
        "LocatesRuns",
        "OnlyReads",
        "OpensChildRuns",
        "OpensSeparateRuns",
        "Place",
        "Publisher",
        "RenewsTargets",
        "RunGuard",
        "TakesSharedUri",
    ),
    "lrtrack.trackers.per_run": (
        "LeftOut",
        "checked",
        "read_each",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "REPORT",
    "AbandonsSteps",
    "Access",
    "AccessRefused",
    "AdvisesRows",
    "CompletesRuns",
    "Filter",
    "GuardsOpenRuns",
    "HasAccess",
    "HintsAtOpenRuns",
    "History",
    "KeepsProcesses",
    "KeepsTemporaryFiles",
    "KnowsPhases",
    "LeftOut",
    "LocatesRuns",
    "NothingFound",
    "OnlyReads",
    "OpensChildRuns",
    "OpensSeparateRuns",
    "PartRefused",
    "PartUnavailable",
    "Place",
    "Progress",
    "Publication",
    "Publisher",
    "Query",
    "Remote",
    "RenewsTargets",
    "Rewind",
    "RowAdvice",
    "Run",
    "RunGuard",
    "Sink",
    "SinkLost",
    "State",
    "StepRecord",
    "TakesSharedUri",
    "Target",
    "Tracker",
    "TrackerError",
    "TrackerUnavailable",
    "UsageError",
    "checked",
    "history_table",
    "no_raw_filters",
    "origin_of",
    "read_each",
    "select",
    "unknown",
    "warn",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: programs that only list trackers load no more."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    value = getattr(module, name, None) or importlib.import_module(f"{_HOMES[name]}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
