"""The metric of a report for which the user names none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lrtrack.errors import clean, notice
from lrtrack.records import STEP_METRICS, TRAIN, History, one_by_one

#: The metric that lrtrack itself records.
LOSS = "loss"
#: Words in the names of metrics that were not computed on training data.
_HELD_OUT = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev", "test"})
#: Metrics that describe how a run trains, not how well, with what follows a slash.
_OWN = {*STEP_METRICS, "learning_rate", "epoch"}
#: Last words of metrics about speed and progress.
_PROGRESS = frozenset(
    {"epoch", "flos", "memory", "runtime", "samples", "second", "seconds", "time", "tokens"}
)
#: The most other metrics that the sentence names.
_NAMED = 5
#: The most characters of each name.
_LONGEST = 60


@dataclass(frozen=True)
class Choice:
    """A metric, and the others that could have been chosen.

    Attributes:
        others: those most like it first.
        exists: whether any run has the metric.
    """

    metric: str
    others: tuple[str, ...]
    exists: bool = True


def choose(histories: Sequence[History]) -> Choice:
    """Choose `loss` if any run has it, else the loss that most runs have.

    A loss is a metric with a part that ends with “loss”, as in `train/loss`, `eval_loss` and
    `Loss/train`. Of those that equally many runs have, one of held-out data comes first, then the
    one with most values.

    Args:
        histories: the runs of a report; range tests do not count.
    """
    runs, values = Counter[str](), Counter[str]()
    for history in one_by_one(histories):
        if history.run.kind != TRAIN:
            continue
        for name, present in history.present.items():
            count = int(present.sum())
            if count:
                metric = name.removeprefix(history.run.prefix)
                runs[metric] += 1
                values[metric] += count

    def order(metric: str) -> tuple[bool, int, bool, int, str]:
        return (
            not _is_loss(metric),
            -runs[metric],
            not _is_held_out(metric),
            -values[metric],
            metric,
        )

    candidates = sorted((metric for metric in runs if not _describes_training(metric)), key=order)
    no_loss = not candidates or not _is_loss(candidates[0])
    chosen = LOSS if LOSS in runs or no_loss else candidates[0]
    others = tuple(metric for metric in candidates if metric != chosen)
    return Choice(chosen, others, chosen in runs)


def announce(choice: Choice) -> None:
    """Say on stderr which metric was chosen, if there are others; nothing if there are none."""
    if not choice.others or not choice.exists:
        return
    names = [name for metric in choice.others if (name := clean(metric).strip()[:_LONGEST])]
    if not names:
        return
    named = ", ".join(names[:_NAMED])
    hidden = len(choice.others) - len(names[:_NAMED])
    more = f" and {hidden} more" if hidden > 0 else ""
    notice(
        f"No metric is named, so this is about {choice.metric}. The runs also have {named}{more}: "
        "choose one with --metric NAME (in Python, metric=)."
    )


def _words(metric: str) -> list[str]:
    parted = re.sub(r"([a-z])([A-Z])", r"\1_\2", metric)
    return re.findall(r"[a-z0-9]+", parted.lower())


def _is_loss(metric: str) -> bool:
    return any(_words(part)[-1:] == [LOSS] for part in metric.split("/"))


def _is_held_out(metric: str) -> bool:
    return not _HELD_OUT.isdisjoint(_words(metric))


def _describes_training(metric: str) -> bool:
    """Whether lrtrack, or a framework's monitor, records this metric of every training."""
    first, *path = metric.split("/")
    known = first in _OWN or first.startswith("lr-") or (bool(path) and path[-1] in _OWN)
    return known or not _PROGRESS.isdisjoint(_words(metric)[-1:])
