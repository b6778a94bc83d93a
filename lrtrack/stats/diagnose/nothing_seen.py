"""LR013: a block, or one of several optimizers, without steps that lrtrack could see.

Not all through, or not any more from some step on.
"""

from __future__ import annotations

from lrtrack.number_text import count
from lrtrack.stats.diagnose.observations import Unobserved
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis
from lrtrack.stats.diagnose.thresholds import HANDFUL

#: The most class names in a message.
_SHOWN = 3
_RECORD = (
    "check that the loop calls step() on the optimizer that track() was given; record the steps of "
    "an engine, of compiled code, or of weights that are changed by hand with run.record(lr=…)"
)
#: A schedule that has moved so often since the last step goes on.
_FEW = 8
#: So many steps without hooks are no trial of a compiler.
_SEVERAL = 2


def nothing_seen(run: RunFacts) -> Diagnosis | None:
    """LR013: the block ended without a step; says why where that is known.

    Not reported after an exception, nor where a resumed run had nothing left to do.
    """
    observed = run.observations
    if observed is None or observed.steps or not run.finished or observed.skipped > HANDFUL:
        return None  # LR026 tells of steps that were skipped
    why = observed.unobserved
    if observed.total and not (why.others or why.compiled or why.captured):
        return None
    if not why.optimizer:
        return _nothing_recorded(why)
    reason, hint = _reason(why)
    return diagnosis("LR013", f"no step of the {why.optimizer} was seen{reason}.", hint)


def _nothing_recorded(why: Unobserved) -> Diagnosis:
    """The diagnosis of a block without an optimizer."""
    if why.others:
        names = " and ".join(sorted(why.others)[:_SHOWN])
        steps = count(sum(why.others.values()), "step")
        message = f"no step was recorded, but {count(why.optimizers, 'optimizer')} ({names}) made "
        return diagnosis(
            "LR013", f"{message}{steps}.", "pass the optimizers that make the steps instead of None"
        )
    return diagnosis(
        "LR013",
        "no step was recorded: the run has no optimizer, and run.record() was never called.",
        "call run.record(lr=…, loss=…) once for each step",
    )


def no_longer_seen(run: RunFacts) -> Diagnosis | None:
    """LR013: the training went on after the last step that was seen.

    Steps of other optimizers count if these have parameters of the tracked one, or if they go on
    for longer than its steps were seen. Without any, the schedule must have gone on, because
    evaluations may need gradients, too. Not reported after an exception.
    """
    observed = run.observations
    if observed is None or not observed.steps or not run.finished:
        return None
    why = observed.unobserved
    calls, longer = why.backward_calls, why.backward_calls > observed.steps
    moved = 0 if observed.position is None else observed.position - observed.used
    goes_on = why.shares or longer if why.others else longer and (why.compiled or moved >= _FEW)
    if why.hidden >= _SEVERAL and not why.others:
        return hidden_now(why, observed.steps)
    if not calls or not goes_on:
        return None
    reason, hint = _instead(why)
    return diagnosis(
        "LR013",
        f"after {count(observed.steps, 'step')}, no more steps of the "
        f"{why.optimizer or 'optimizer'} were seen, although "
        f"{count(calls, 'backward() call')} followed{reason}.",
        hint,
    )


def hidden_now(why: Unobserved, steps: int) -> Diagnosis:
    """LR013 of a training whose steps are found to run without hooks.

    Args:
        why: the evidence.
        steps: the steps that were seen before.
    """
    reason, hint = _without_hooks(why)
    begin = f"after {count(steps, 'step')}, no more steps" if steps else "no step"
    were = "were" if steps else "was"
    return diagnosis("LR013", f"{begin} of the {why.optimizer} {were} seen{reason}.", hint)


def _without_hooks(why: Unobserved) -> tuple[str, str]:
    """Return why steps run without hooks, and what to do; empty text if that is not known."""
    if why.captured:
        often = f"; it was replayed {count(why.hidden, 'time')}" if why.hidden else ""
        return (
            f": its step is in a CUDA graph, and replays call no hooks{often}",
            "call run.record(loss=…, grad_norm=…) after each replay",
        )
    if why.compiled:
        return (
            ": torch.compile compiled its step, and compiled steps call no hooks",
            "leave optimizer.step() outside of what is compiled, or call run.record(loss=…, "
            "grad_norm=…) after each compiled step",
        )
    return "", ""


def _instead(why: Unobserved) -> tuple[str, str]:
    if why.others:
        verb = "step" if why.optimizers > 1 else "steps"
        who = f"{count(why.optimizers, 'other optimizer')} ({_names(why)})"
        return (
            f": {who} {verb} instead",
            "change the optimizer that track() was given instead of replacing it, or open a block "
            "for the new one",
        )
    return _reason(why) if why.compiled else ("", _RECORD)


def never_stepped(run: RunFacts) -> Diagnosis | None:
    """LR013: one of several optimizers never stepped, although others did."""
    observed = run.observations
    if observed is None or observed.steps or not run.finished:
        return None
    reason, hint = _without_hooks(observed.unobserved)
    return diagnosis(
        "LR013",
        f"no step of this optimizer was seen, although the others made steps{reason}.",
        hint or "call its step(), or leave it out of track() if it is not meant to train",
    )


def replaced(run: RunFacts) -> Diagnosis | None:
    """LR013: one of several optimizers made no steps any more; another has its parameters.

    Without another one, it may have been meant to stop, as where a network is frozen.
    """
    observed = run.observations
    if observed is None or not observed.steps or not run.finished:
        return None
    why = observed.unobserved
    if not (why.others and why.shares):
        return None
    who, hint = _instead(why)
    return diagnosis(
        "LR013",
        f"after {count(observed.steps, 'step')}, no more steps of this optimizer were seen{who}.",
        hint,
    )


def _reason(why: Unobserved) -> tuple[str, str]:
    """Return the rest of the sentence, and what to do."""
    if why.others:
        where = " inside backward()" if why.in_backward else ""
        who = f"{count(why.optimizers, 'other optimizer')} ({_names(why)})"
        return (
            f", but {who} made {count(sum(why.others.values()), 'step')}{where}",
            "give track() the optimizers that make the steps: one, or several as a list",
        )
    if why.compiled or why.captured:
        return _without_hooks(why)
    if why.engine:
        return (
            f": an engine of {why.engine} probably steps instead",
            "give track() the engine itself, or call run.record(lr=…, loss=…, grad_norm=…) after "
            "each of its steps",
        )
    calls = count(why.backward_calls, "backward() call") if why.backward_calls else ""
    moves = count(why.scheduler_steps, "scheduler step") if why.scheduler_steps else ""
    only = " and ".join(filter(None, [calls, moves]))
    reason = ", nor one of any other optimizer" + ("" if calls else ", nor any backward() call")
    hint = _RECORD if calls else "check that the loop calls loss.backward() and optimizer.step()"
    return f"{reason}, only {only}" if only else reason, hint


def _names(why: Unobserved) -> str:
    """The class names of the other optimizers, that of the most steps first."""
    names = sorted(why.others, key=lambda name: (-why.others[name], name))
    return " and ".join(names[:_SHOWN])
