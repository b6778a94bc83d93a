"""Optional parts of a tracker or a sink, each a protocol that lrtrack looks for with `isinstance`.

A tracker has a hook by having its method or attribute; no base class is needed.

| Hook | Lets a tracker |
| --- | --- |
| `Publisher` | keep reports beside the runs |
| `HasAccess` | say which variables and files decide how it is reached |
| `RenewsTargets` | deliver with the settings of the process that delivers |
| `OpensSeparateRuns` | open a run of its own while the user has one open |
| `OpensChildRuns` | open child runs of the user's open run |
| `KnowsPhases` | say what an open run holds already |
| `GuardsOpenRuns` | watch the user's open run while lrtrack records into it |
| `HintsAtOpenRuns` | point to an open run that was not joined |
| `TakesSharedUri` | receive `tracking_uri` when several trackers are read |
| `LocatesRuns` | say where `lrtrack compare` finds a run |
| `OnlyReads` | refuse to be written to |
| `AdvisesRows` | say how many rows its charts are meant for |
| `KeepsProcesses` | keep processes from one run for the next |
| `AbandonsSteps` (sink) | leave out the steps that a return to an earlier step abandons |
| `CompletesRuns` (sink) | store what is only known at a run's end |
| `KeepsTemporaryFiles` (sink) | keep temporary files where lrtrack removes them |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lrtrack.records import Rewind, Run, Target
from lrtrack.trackers.access import Access as Access
from lrtrack.trackers.base import Publication, Query, Remote, RowAdvice
from lrtrack.trackers.shared_runs import Phase


@runtime_checkable
class Publisher(Protocol):
    """A tracker that keeps reports beside the runs they are about: `lrtrack compare --publish`."""

    name: str

    def publish(self, publication: Publication, query: Query) -> Remote:
        """Put a report into the experiment's run called `REPORT`, which is created if missing.

        An earlier report on the same metric is replaced. Nothing that reads histories may take
        that run for a training.

        Args:
            publication: the report.
            query: the experiment, and where it is.

        Raises:
            NothingFound: there is no such experiment.
            TrackerUnavailable: the tracker cannot be reached.
            TrackerError: the tracker refuses.
        """
        ...


@runtime_checkable
class HasAccess(Protocol):
    """A tracker whose deliveries authenticate.

    Read in the training process, which records a salted hash of what matters, and again before
    each delivery, which must run as the same user.
    """

    access: Access


@runtime_checkable
class RenewsTargets(Protocol):
    """A tracker whose targets carry settings of the process that trained."""

    def renew_target(self, target: Target) -> Target:
        """The target with this process's settings instead; called by `lrtrack sync`."""
        ...


@runtime_checkable
class OpensSeparateRuns(Protocol):
    """A tracker that can open a run of its own although the user has one open."""

    def separate_target(self, experiment: str | None, default: str) -> Target:
        """A new run, whatever is active; called in the training process by `find_lr()`.

        Args:
            experiment: what the user asked for; None: the experiment of the active run.
            default: where it goes when neither the user nor the tracker's settings say.
        """
        ...


@runtime_checkable
class OpensChildRuns(Protocol):
    """A tracker that can open child runs of the user's open run."""

    def child_target(self, target: Target) -> Target:
        """A child of the open run of `target`, which lrtrack opens and closes.

        Called in the training process, where a block cannot share the open run: its seed or name
        differs, another block is still recording there, or it is a trial of a study.
        """
        ...


@runtime_checkable
class KnowsPhases(Protocol):
    """A tracker that knows, in the training process, what the user's open run holds already."""

    def earlier_phases(self, prefix: str) -> tuple[int, tuple[Phase, ...]]:
        """Blocks of an earlier process in the open run; called for the first block that joins it.

        Args:
            prefix: the metric prefix of the new block.

        Returns:
            The step at which the new block begins, and the phases before it, see `shared_runs`.
        """
        ...


class RunGuard(Protocol):
    """What `GuardsOpenRuns.guard` returns; all of it is called on the training thread."""

    def enter(self) -> None:
        """Begin, when the block is entered."""
        ...

    def tick(self) -> None:
        """Called after each recorded optimizer step; must take no time."""
        ...

    def leave(self) -> bool:
        """End, with the block; whether deliveries may begin now. Idempotent."""
        ...


@runtime_checkable
class GuardsOpenRuns(Protocol):
    """A tracker that watches what the user logs while lrtrack records into the same run."""

    def guard(self, gate: Path, deliver: Callable[[], None]) -> RunGuard | None:
        """A guard of the user's active run; called when a block joins one.

        Args:
            gate: a file that keeps deliveries to this run back while it exists.
            deliver: delivers everything recorded so far, and waits for it a while.
        """
        ...


@runtime_checkable
class HintsAtOpenRuns(Protocol):
    """A tracker that can notice an open run of the user's that lrtrack does not join."""

    def open_run_hint(self) -> str | None:
        """Which run is open but not joined, and how to join it; None where there is none.

        Called once a process, in the notice of where runs go when no tracker is named.
        """
        ...


@runtime_checkable
class TakesSharedUri(Protocol):
    """A tracker that `tracking_uri` is meant for when several trackers are read at once.

    A tracker that is read alone always receives it.
    """

    takes_shared_uri: bool


@dataclass(frozen=True)
class Place:
    """Where `lrtrack compare` finds a run.

    Attributes:
        experiment: as for `--experiment`.
        uri: as for `--tracking-uri`; None: the tracker's own default.
    """

    experiment: str
    uri: str | None = None


@runtime_checkable
class LocatesRuns(Protocol):
    """A tracker that knows where its runs are found; others are read by `Target.experiment`."""

    def place_of(self, target: Target) -> Place | None:
        """Where the run of `target` is found; None where it cannot be read from this tracker.

        Called in the training process at the end of a block, while a run that the user has open
        may still be open. Must not use the network.
        """
        ...


@runtime_checkable
class OnlyReads(Protocol):
    """A tracker that only reads what others wrote.

    Attributes:
        only_reads: why, and what to do instead, as the end of an error message.
    """

    only_reads: str


@runtime_checkable
class AdvisesRows(Protocol):
    """A tracker whose charts are meant for a limited number of rows; `row_advice` says which."""

    row_advice: RowAdvice


@runtime_checkable
class KeepsProcesses(Protocol):
    """A tracker whose sinks leave processes for the sinks of later runs."""

    def end_processes(self) -> None:
        """End those that no sink uses; called when deliveries end. Idempotent."""
        ...


@runtime_checkable
class CompletesRuns(Protocol):
    """A sink that stores what is only known at a run's end."""

    def complete(self, run: Run) -> None:
        """Store tags and description again, of a run that knows more by now. Idempotent.

        Called before `Sink.close`, for runs that end with `suggestions` or `diagnoses` (none of
        which may be the news, where the run was continued). Where it fails, the run is closed
        without what it stores: it is tried again a few times, if that may help.

        Args:
            run: as it is known now.
        """
        ...


@runtime_checkable
class AbandonsSteps(Protocol):
    """A sink that knows which of the stored records count, after a return to an earlier step.

    Without this hook, a step that is made again gets further records, of which the later ones
    replace the earlier ones, and the other abandoned steps stay.
    """

    def rewind(self, rewind: Rewind) -> float:
        """Abandon the stored records of `rewind.step` and the steps after it. Idempotent.

        A tracker that cannot delete notes the rewind with the run, and `histories` leaves out the
        records that it abandons.

        Args:
            rewind: in the steps of the tracker's run.

        Returns:
            The time from which on records count, in seconds since the epoch: `rewind.time`, or a
            later one where stored records are later. Records that follow have at least this time.
        """
        ...


@runtime_checkable
class KeepsTemporaryFiles(Protocol):
    """A sink that writes temporary files.

    Attributes:
        temporary: set before `Sink.open` to the directory for them, which may have to be created.
            lrtrack removes it.
    """

    temporary: Path | None
