"""LR013: a block, or one of several optimizers, that made no step that lrtrack could see."""

from __future__ import annotations

from lrtrack.stats.diagnose.observations import Unobserved
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, many

#: The most class names in a message.
_SHOWN = 3


def nothing_seen(run: RunFacts) -> Diagnosis | None:
    """LR013: the block ended without a step; says why where that is known.

    Not reported after an exception, nor where a resumed run had nothing left to do.
    """
    observed = run.observations
    if observed is None or observed.steps or not run.finished:
        return None
    why = observed.unobserved
    if observed.total and not (why.others or why.compiled):
        return None
    if not why.optimizer:
        return _nothing_recorded(why)
    reason, hint = _reason(why)
    return diagnosis("LR013", f"no step of the {why.optimizer} was seen{reason}.", hint)


def _nothing_recorded(why: Unobserved) -> Diagnosis:
    """The diagnosis of a block without an optimizer."""
    if why.others:
        names = " and ".join(sorted(why.others)[:_SHOWN])
        steps = many(sum(why.others.values()), "step")
        message = f"no step was recorded, but {many(why.optimizers, 'optimizer')} ({names}) made "
        return diagnosis(
            "LR013", f"{message}{steps}.", "pass the optimizers that make the steps instead of None"
        )
    return diagnosis(
        "LR013",
        "no step was recorded: the run has no optimizer, and run.record() was never called.",
        "call run.record(lr=…, loss=…) once for each step",
    )


def never_stepped(run: RunFacts) -> Diagnosis | None:
    """LR013: one of several optimizers never stepped, although others did."""
    observed = run.observations
    if observed is None or observed.steps or not run.finished:
        return None
    return diagnosis(
        "LR013",
        "no step of this optimizer was seen, although the others made steps.",
        "call its step(), or leave it out of track() if it is not meant to train",
    )


def _reason(why: Unobserved) -> tuple[str, str]:
    """Return the rest of the sentence, and what to do."""
    if why.others:
        where = " inside backward()" if why.in_backward else ""
        names = sorted(why.others, key=lambda name: (-why.others[name], name))
        shown = " and ".join(names[:_SHOWN])
        who = f"{many(why.optimizers, 'other optimizer')} ({shown})"
        return (
            f", but {who} made {many(sum(why.others.values()), 'step')}{where}",
            "give track() the optimizers that make the steps: one, or several as a list",
        )
    if why.compiled:
        return (
            ": torch.compile compiled its step, and compiled steps call no hooks",
            "compile the model or the forward pass only, and leave optimizer.step() outside",
        )
    if why.engine:
        return (
            f": an engine of {why.engine} probably steps instead",
            "give track() the optimizer that the engine has made (engine.optimizer)",
        )
    return (
        ", nor one of any other optimizer",
        "check that the loop calls step() on the optimizer that track() was given; weights that "
        "are changed by hand, by an engine or by compiled code show no steps",
    )
