"""The nouns that travel between rooms: Run, Target, StepRecord, History."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lrtrack.fields import JSON, flatten, plain
from lrtrack.schedules import CONSTANT, Schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class State(StrEnum):
    """How a run stands, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


#: Kinds of runs: trainings, which reports compare, and learning-rate range tests.
TRAIN, FIND = "train", "find"
#: The method of `find_lr` whose suggestion stands for all of a run's.
METHOD = "minimum"
#: What a diagnosis says, in words: its code, what was found, what to do about it, and, of a block
#: that has one, the prefix of its metrics.
DIAGNOSIS = ("code", "message", "hint", "prefix")


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one optimizer step used.

    Attributes:
        step: optimizer steps before this one, from 0.
        time: seconds since the epoch, when the step ran.
        metrics: metric name to value; NaN and infinities are values.
    """

    step: int
    time: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """One tracker a run is delivered to.

    Attributes:
        tracker: name in the tracker registry.
        uri: where that tracker is, without credentials; None means its own default.
        experiment: MLflow experiment or W&B project; None where a run is joined.
        experiment_id: the tracker's own id of the experiment, where only that is known.
        run_id: the tracker's run to write to; None: a new one.
        url: where people look at that run, where it is known already.
        joined: the run belongs to the user and is never closed by lrtrack.
        portable: another process can do the writing; False for tracker objects.
        environment: what the tracker's own environment variables said in the training process,
            without credentials, for trackers that need to know.
        delivers: False where nothing is to be brought anywhere: the journal itself is the store,
            or the user has switched the tracker off.
        parent: id of the user's open run inside which lrtrack opens this one, as a child of it.
        first: the run's step at which this block begins; the blocks before it have the steps below.
        phases: the blocks of this run before this one, in order, as `trackers.shared_runs` writes
            them; empty where it is the first.
    """

    tracker: str
    uri: str | None = None
    experiment: str | None = None
    experiment_id: str | None = None
    run_id: str | None = None
    url: str | None = None
    joined: bool = False
    portable: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    delivers: bool = True
    parent: str | None = None
    first: int = 0
    phases: tuple[Mapping[str, Any], ...] = ()

    @property
    def continued(self) -> bool:
        """Whether a run of another journal is gone on with, which may have steps already."""
        return self.run_id is not None and not self.joined


@dataclass(frozen=True)
class Run:
    """One `with` block's identity: everything known before its first step, and what its end tells.

    Attributes:
        id: lrtrack's own id, 32 hex digits.
        optimizer: `{"name": …, <hyper-parameters of group 0>}`.
        started: seconds since the epoch.
        credentials: names of the variables and files that decide how deliveries authenticate and
            connect, with a salted hash each: see `lrtrack.shipping.credentials`.
        cwd: the working directory, against which a tracker's relative store is resolved.
        source: the program that trains, as it was called.
        kind: `TRAIN` or `FIND`.
        suggestions: learning rates that a run of kind `FIND` came to, by method; known at its end.
        diagnoses: what a run of kind `TRAIN` was found to have at its end, as mappings of
            `DIAGNOSIS`; None where nobody has looked: it goes on, or was killed.
    """

    id: str
    name: str
    schedule: Schedule = field(default_factory=lambda: Schedule(CONSTANT))
    optimizer: Mapping[str, JSON] = field(default_factory=dict)
    experiment: str | None = None
    group: str | None = None
    seed: int | None = None
    config: Mapping[str, JSON] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    device_type: str = "cpu"
    device_name: str = ""
    world_size: int = 1
    version: str = ""
    started: float = 0.0
    host: str = ""
    pid: int = 0
    cwd: str = ""
    source: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    kind: str = TRAIN
    suggestions: Mapping[str, float] = field(default_factory=dict)
    diagnoses: tuple[Mapping[str, str], ...] | None = None

    def fields(self, **known: JSON) -> dict[str, JSON]:
        """The run as one flat mapping: what filters, groups, data frames and reports ask for.

        Args:
            known: what a tracker knows of the run besides: `state`, `tracker`, `url`, and its own
                `run_id`.

        Returns:
            `name`, `schedule` (its name), `seed`, `group`, `experiment`, `kind`, `prefix`,
            `device.type`, `device.name`, `world_size`, `host`, `version`, `started` (seconds since
            the epoch), `run_id`, then `scheduler.…` (with `scheduler.id`), `optimizer.…`,
            `config.…` and `tags.…`, nested ones with dots. A field that is not known is missing.
        """
        own = {
            "run_id": self.id,
            "name": self.name,
            "schedule": self.schedule.name,
            "seed": self.seed,
            "group": self.group,
            "experiment": self.experiment,
            "kind": self.kind,
            "prefix": self.prefix or None,
            "device.type": self.device_type or None,
            "device.name": self.device_name or None,
            "world_size": self.world_size,
            "host": self.host or None,
            "version": self.version or None,
            "started": self.started,
            **known,
        }
        return {
            **{name: value for name, value in own.items() if value is not None},
            **flatten(self.schedule.to_dict(), "scheduler.", lists=True),
            "scheduler.id": self.schedule.id,
            **flatten(self.optimizer, "optimizer."),
            **flatten(self.config, "config."),
            **flatten(self.tags, "tags."),
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; the inverse of `from_dict`."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["schedule"] = self.schedule.to_dict()
        data["targets"] = [asdict(target) for target in self.targets]
        if self.diagnoses is None:
            del data["diagnoses"]
        return dict(plain(data))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Rebuild a run.

        Args:
            data: what `to_dict` gives; keys of later versions are ignored.

        Raises:
            KeyError, TypeError, ValueError: the mapping does not describe a run.
        """
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        _expect(known, _RUN)
        known["schedule"] = Schedule.from_dict(known["schedule"])
        for name, digest in known.get("credentials", {}).items():
            _expect({name: digest}, {name: _TEXT})
        known["diagnoses"] = diagnoses_from(known.get("diagnoses"))
        fields = Target.__dataclass_fields__
        for target in known.get("targets", ()):
            _expect(target, _TARGET)
        known["targets"] = tuple(
            Target(**{key: value for key, value in _tupled(target).items() if key in fields})
            for target in known.get("targets", ())
        )
        return cls(**known)


_TEXT: tuple[type, ...] = (str,)
_TEXT_OR_NONE = (str, type(None))
_RUN: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "name", "prefix", "device_type", "device_name", "version"), _TEXT),
    **dict.fromkeys(("host", "cwd", "source", "kind"), _TEXT),
    **dict.fromkeys(("experiment", "group"), _TEXT_OR_NONE),
    **dict.fromkeys(("schedule", "optimizer", "config", "tags", "suggestions"), (dict,)),
    "credentials": (dict,),
    **dict.fromkeys(("world_size", "pid"), (int,)),
    "seed": (int, type(None)),
    "started": (int, float),
    "targets": (list, tuple),
}
_TARGET: Mapping[str, tuple[type, ...]] = {
    "tracker": _TEXT,
    **dict.fromkeys(("uri", "experiment", "experiment_id", "run_id", "url"), _TEXT_OR_NONE),
    "parent": _TEXT_OR_NONE,
    "first": (int,),
    "phases": (list, tuple),
    **dict.fromkeys(("joined", "portable", "delivers"), (bool,)),
    "environment": (dict,),
}


def _expect(data: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    for name, value in data.items():
        if name in kinds and not isinstance(value, kinds[name]):
            raise TypeError(f"{name} is of type {type(value).__name__}")


def suggestions_from(found: Any) -> dict[str, float]:
    """Suggestions out of what was `found` in a journal or a tracker: what of it is numbers."""
    if not isinstance(found, Mapping):
        return {}
    kept = {}
    for method, rate in found.items():
        with contextlib.suppress(TypeError, ValueError):
            kept[str(method)] = float(rate)
    return kept


def diagnoses_from(found: Any) -> tuple[dict[str, str], ...] | None:
    """Diagnoses out of what was `found` in a journal or a tracker; None where that is no list.

    An entry without a code is left out; what else it lacks is empty.
    """
    if not isinstance(found, list | tuple):
        return None
    entries = [each for each in found if isinstance(each, Mapping) and each.get("code")]
    return tuple(
        {key: str(each.get(key, "")) for key in DIAGNOSIS if key != "prefix" or each.get(key)}
        for each in entries
    )


def _tupled(target: Mapping[str, Any]) -> dict[str, Any]:
    phases = tuple(target.get("phases", ()))
    if not all(isinstance(each, Mapping) and isinstance(each.get("id"), str) for each in phases):
        raise TypeError("phases are mappings with the id of a block")
    return {**target, "phases": phases}


@dataclass(frozen=True)
class History:
    """A run with its steps, read back from a tracker.

    Attributes:
        run: the run's identity, as far as the tracker keeps it.
        state: how the run stands.
        tracker: name of the tracker it was read from.
        steps: shape (n,), int64, ascending.
        times: shape (n,), float64, seconds since the epoch.
        metrics: metric name to shape (n,), float64; NaN also where a step has no value.
        present: metric name to shape (n,), bool: whether the step has a value, as a recorded NaN
            is not the same as none.
        url: where people can look at the run, if anywhere.
        ended: seconds since the epoch, None while it runs.
        remote_id: the tracker's own id of the run; None where it has no other than `run.id`.
        mapped: the file that the arrays are views of, where they are.
    """

    run: Run
    state: State
    tracker: str
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    metrics: Mapping[str, NDArray[np.float64]]
    present: Mapping[str, NDArray[np.bool_]]
    url: str | None = None
    ended: float | None = None
    remote_id: str | None = None
    mapped: mmap.mmap | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The id that people use: the tracker's own, which `TrackedRun.id` gave them."""
        return self.remote_id or self.run.id

    def fields(self) -> dict[str, JSON]:
        """The fields of the run, with its `state`, `tracker`, `url` and the tracker's `run_id`."""
        return self.run.fields(
            run_id=self.id, state=str(self.state), tracker=self.tracker, url=self.url
        )

    def series(self, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and values at which `metric` (without the run's prefix) was recorded.

        Returns:
            Two arrays of one shape (k,), k ≤ n; both empty for a metric the run lacks.
        """
        name = self.name_of(metric)
        if name is None:
            return self.steps[:0], self.times[:0]
        mask = self.present[name]
        return self.steps[mask], self.metrics[name][mask]

    def name_of(self, metric: str) -> str | None:
        """The column that holds `metric`, with or without the run's prefix; None if none does."""
        for name in (self.run.prefix + metric, metric):
            if name in self.metrics:
                return name
        return None

    def rest(self) -> None:
        """Let go of the memory that the arrays take, where a file has them; they stay usable."""
        if self.mapped is not None and hasattr(self.mapped, "madvise"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def one_by_one(histories: Iterable[History]) -> Iterator[History]:
    """The `histories`, to be gone through, of which no more than one need be in memory."""
    for history in histories:
        yield history
        history.rest()
