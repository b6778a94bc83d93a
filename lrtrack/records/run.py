"""`Run`: what one `with` block is, and `Target`: where it is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from lrtrack.fields import JSON, flatten, plain
from lrtrack.records import parsing
from lrtrack.records.rewind import Rewind, abandoned, rewinds_from, with_rewind
from lrtrack.schedules import CONSTANT, Schedule


class State(StrEnum):
    """The state of a run, under MLflow's names."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


#: Kinds of runs: trainings, which reports compare, and learning-rate range tests.
TRAIN, FIND = "train", "find"

#: The `find_lr` method whose suggestion is shown where there is room for one.
METHOD = "minimum"

#: The metrics of steps that lrtrack itself records besides the loss; some have parts after a slash.
STEP_METRICS = (
    "lr", "lr_effective", "grad_norm", "grad_norm_preclip", "momentum", "weight_decay",
    "loss_count", "plateau_metric", "update_norm", "weight_norm", "update_ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one optimizer step used.

    Attributes:
        step: the number of optimizer steps before this one.
        time: when the step ran, in seconds since the epoch.
        metrics: metric name to value; NaN and infinities are values.
    """

    step: int
    time: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """One tracker that a run is delivered to.

    Attributes:
        tracker: name in the tracker registry.
        uri: the tracker's address, without credentials; None: the tracker's own default.
        experiment: MLflow experiment or W&B project; None for a run that is joined.
        experiment_id: the tracker's own id of the experiment, where only that is known.
        run_id: the tracker's run to write to; None: a new one.
        url: the page of that run, if it is known already.
        joined: whether the run belongs to the user; lrtrack never closes such a run.
        portable: whether another process can write; False for tracker objects.
        environment: the tracker's own environment variables in the training process, without
            credentials, for trackers that need them.
        delivers: False where nothing is delivered: the journal itself is the store, or the user
            has switched the tracker off.
        parent: id of the user's open run, of which lrtrack opens this one as a child.
        first: the run's step at which this block begins; earlier blocks have the steps before it.
        phases: the earlier blocks of this run, in order, as `trackers.shared_runs` describes them.
        thin: whether the tracker gets only the rows that its charts need.
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
    thin: bool = False

    @property
    def continued(self) -> bool:
        """Whether this appends to a run of another journal, which may have steps already."""
        return self.run_id is not None and not self.joined

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Target:
        """Rebuild a target.

        Args:
            data: the target's entry in `Run.to_dict`; keys of later versions are ignored.

        Raises:
            TypeError: the mapping does not describe a target.
        """
        parsing.check_types(data, parsing.TARGET)
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        return cls(**{**known, "phases": parsing.phases_of(data)})


@dataclass(frozen=True)
class Run:
    """The identity of one `with` block: what is known before its first step, and at its end.

    Attributes:
        id: lrtrack's own id, 32 hex digits.
        optimizer: `{"name": …, <hyper-parameters of param group 0>}`.
        prefix: what stands before the block's metric names.
        started: seconds since the epoch.
        cwd: the working directory, against which a tracker's relative store is resolved.
        source: the training program, as it was called.
        credentials: names of the variables and files that decide how deliveries authenticate and
            connect, with a salted hash each: see `lrtrack.shipping.credentials`.
        kind: `TRAIN` or `FIND`.
        suggestions: learning rates that a run of kind `FIND` suggests, by method; set at its end.
        diagnoses: the diagnoses of a run of kind `TRAIN`, as mappings with the keys of `DIAGNOSIS`;
            None where it was never diagnosed, because it is still going or was killed.
        rewinds: returns to earlier steps; known from the journal's events or from the tracker.
        parent: the id of the run that this one branched off; None if it did not.
        branched_at: the first step that belongs to this run and not to its parent.
        outcome: how the block ended; None before that, and where it is not known.
        total_steps: how many optimizer steps the training will make; None if that is unknown.
        torch_version: of the training process; empty if that is unknown.
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
    rewinds: tuple[Rewind, ...] = ()
    parent: str | None = None
    branched_at: int | None = None
    outcome: State | None = None
    total_steps: int | None = None
    torch_version: str = ""

    def fields(self, **known: JSON) -> dict[str, JSON]:
        """The run as one flat mapping: the names that filters, groups, frames and reports use.

        Args:
            known: what a tracker knows of the run besides: `state`, `tracker`, `url`, and its own
                `run_id`.

        Returns:
            `run_id`, `name`, `schedule` (its name), `seed`, `group`, `experiment`, `kind`,
            `prefix`, `device.type`, `device.name`, `world_size`, `host`, `version`,
            `torch.version`, `started` (seconds since the epoch), `rewound` (the abandoned steps),
            `parent`, `branched_at`, `total_steps`, then `scheduler.…` (with `scheduler.id`),
            `optimizer.…`, `config.…` and `tags.…`, with dots between nested names. An unknown
            field is missing.
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
            "torch.version": self.torch_version or None,
            "started": self.started,
            "rewound": abandoned(self.rewinds) or None,
            "parent": self.parent,
            "branched_at": self.branched_at,
            "total_steps": self.total_steps,
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

    def rewound(self, rewind: Rewind) -> Run:
        """The run after a return to an earlier step.

        Args:
            rewind: the return; a branch may return to a step before it branched off.
        """
        first = self.branched_at
        first = None if first is None else min(first, rewind.step)
        return replace(self, rewinds=with_rewind(self.rewinds, rewind), branched_at=first)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; the inverse of `from_dict`."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["schedule"] = self.schedule.to_dict()
        data["targets"] = [asdict(target) for target in self.targets]
        data["rewinds"] = [asdict(rewind) for rewind in self.rewinds]
        if self.diagnoses is None:
            del data["diagnoses"]
        for name in ("rewinds", "parent", "branched_at", "outcome", "total_steps", "torch_version"):
            if data[name] in (None, [], ""):  # most runs have none, and older ones no version
                del data[name]
        return dict(plain(data))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Rebuild a run.

        Args:
            data: what `to_dict` returned; keys of later versions are ignored.

        Raises:
            KeyError, TypeError, ValueError: the mapping does not describe a run.
        """
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        parsing.check_types(known, parsing.RUN)
        known["schedule"] = Schedule.from_dict(known["schedule"])
        for name, digest in known.get("credentials", {}).items():
            parsing.check_types({name: digest}, {name: parsing.TEXT})
        known["diagnoses"] = parsing.diagnoses_from(known.get("diagnoses"))
        known["outcome"] = outcome_from(known.get("outcome"))
        known["total_steps"] = parsing.count_from(known.get("total_steps"))
        known["rewinds"] = rewinds_from(known.get("rewinds"))
        known["targets"] = tuple(map(Target.from_dict, known.get("targets", ())))
        return cls(**known)


def outcome_from(value: Any) -> State | None:
    """The outcome that a journal or a tracker names; None if it names none.

    Args:
        value: what was read there.
    """
    return State(value) if value in (State.FINISHED, State.FAILED) else None


def default_name(prefix: str, schedule: str, seed: int | None) -> str:
    """The name of a run if the user gave none: `G-StepLR-seed3`.

    Args:
        prefix: of the block's metrics.
        schedule: the schedule's name.
        seed: the random seed.
    """
    parts = [prefix.rstrip("/_-. "), schedule, "" if seed is None else f"seed{seed}"]
    return "-".join(filter(None, parts))
