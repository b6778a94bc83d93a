"""Makes the capture of a block: of one optimizer, or of several in rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.capture.engines import EngineCapture
from lrtrack.capture.ensemble import Part, ensemble_of
from lrtrack.capture.member import Member
from lrtrack.capture.optimizers import NoOptimizer
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import OnStep, StepCapture
from lrtrack.capture.unhooked import UnhookedCapture
from lrtrack.journal.writer import JournalWriter
from lrtrack.tracking.options import Options

Capture = StepCapture | Rounds


def capture_of(
    options: Options, amend: Callable[[dict[str, float]], None], clock: Callable[[], float]
) -> Capture:
    """Make the capture that a block with these options needs.

    Args:
        options: the options of the block.
        amend: called with what a `ReduceLROnPlateau` is given, as a metric.
        clock: returns the times of steps.
    """
    ensemble = ensemble_of(options.optimizer, options.scheduler)
    common: dict[str, Any] = {
        "norms": options.norms,
        "model": options.model,
        "every": options.every,
        "capture_loss": options.capture_loss,
        "updates": options.updates,
        "norms_every": options.norms_every or 1,
        "clock": clock,
    }
    if len(ensemble.parts) > 1:

        def amend_named(name: str, value: float) -> None:
            amend({"/".join(filter(None, ["plateau_metric", name])): value})

        return Rounds(ensemble, on_plateau=amend_named, **common)
    part = ensemble.parts[0]
    if ensemble.engine is not None:
        return EngineCapture(ensemble.engine, part.optimizer, part.scheduler, **common)
    common["on_plateau"] = lambda value: amend({"plateau_metric": value})
    if isinstance(part.optimizer, NoOptimizer):
        return UnhookedCapture(part.optimizer, part.scheduler, **common)
    return StepCapture(part.optimizer, part.scheduler, **common)


def connect(capture: Capture, journal: JournalWriter, recorder: Callable[[Any], OnStep]) -> None:
    """Have a capture write to a journal.

    Args:
        capture: the capture.
        journal: the journal.
        recorder: makes the function that takes a step's record, given what takes its row.
    """
    capture.on_step = recorder(journal.appended)
    if isinstance(capture, Rounds):
        capture.on_change = recorder(lambda row: journal.amend(*row))
        capture.on_user = journal.amend


def amend(
    capture: Capture, journal: JournalWriter, when: float, metrics: Mapping[str, Any]
) -> None:
    """Write what the user logs at the step just done; a round that has not ended keeps it."""
    if isinstance(capture, Rounds):
        capture.amend(when, metrics)
    else:
        journal.amend(max(capture.step, 0), when, metrics)


def publish(capture: Capture) -> None:
    """Write what is known of a round that has not ended."""
    if isinstance(capture, Rounds):
        capture.publish()


def device_entry(capture: Capture) -> dict[str, Any]:
    """What the end of a journal says of the device, where that was unknown at the start."""
    if isinstance(capture, Rounds) or capture.device is None:
        return {}
    kind, name = capture.device
    return {"device": {"type": kind, "name": name}}


def by_name(capture: Capture) -> dict[str, StepCapture]:
    """The capture of each optimizer by its name, which is empty for one that stands for all."""
    if not isinstance(capture, Rounds):
        return {"": capture}
    members = capture.members if capture.members[0].name else capture.members[:1]
    return {member.name: member for member in members}


def parts(capture: Capture) -> list[Part]:
    """The optimizers that a capture observes, each with its name and its scheduler."""
    members = capture.members if isinstance(capture, Rounds) else [capture]
    return [Part(getattr(own, "name", ""), own.optimizer, own.scheduler) for own in members]


def scheduler_counts(capture: StepCapture, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The count of an optimizer's scheduler at steps of the run; -1 where it is unknown.

    Args:
        capture: the optimizer's.
        steps: shape (n,), ascending, each with a step of this optimizer.
    """
    capture.loads.stored()  # brings the pace up to date
    if isinstance(capture, Member):
        capture.turns.stored()
        steps = capture.turns.pace.counts(steps)
    return np.where(steps < 0, -1, capture.loads.pace.counts(steps))
