"""The table of cases.

A case is a function that trains a little inside `lrtrack.track` and records the expected values. To
add one, write in any file `<family>_cases.py` of this folder (`conftest.py` imports them all):

    @case("sgd with momentum")
    def sgd_with_momentum(truth: Truth) -> None:
        task = Task()
        optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
        with truth.track(optimizer):                # `lrtrack.track`, with the suite's options
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = task.loss()
                loss.backward()
                truth.step(optimizer, loss)         # right before the step: LRs, norms, loss
                optimizer.step()

Rows of a table are added with `add("optimizer SGD", partial(loop, row))`. Parameters of `case` and
`add`: `needs="timm"` (or several names) skips the case, with a reason, where a package is missing;
`trackers=LOCAL` leaves its run in the journal.
`truth.put(momentum=0.9)` expects another metric at the next step, `truth.after(…)` at the step just
done; `truth.schedule = "StepLR(step_size=2)"` expects that label of the run's schedule;
`truth.another("d")` is a second run of the same case. A case fails if the trackers have
anything more, less or twice. It also fails on a diagnosis that is not declared: `told="LR001"` (or
several codes) declares those of a loop with a mistake, `other.told = (…)` those of a further run.
Every case starts with seed 0, in an empty working directory of the suite, with warnings as errors,
and without an open run.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from .truth import Truth

TRACKERS = ("mlflow", "wandb")
#: For loops that differ in their learning rates alone: the journal holds what trackers would get.
LOCAL = ("local",)
#: Trackers that the rows of large tables go to. W&B needs two seconds for each run, and all rows of
#: a table give it the same kinds of metrics; `tox -e soak` sends them there too.
TABLE_TRACKERS = TRACKERS if os.environ.get("LRTRACK_SOAK", "") == "1" else TRACKERS[:1]

#: Optimizer steps of a usual case: enough for every schedule here to move.
STEPS = 6

Loop = Callable[[Truth], None]


@dataclass(frozen=True)
class Case:
    """One training loop.

    Attributes:
        name: its test id, and the name of its run.
        loop: trains, and records the expected values.
        needs: packages or programs without which the case is skipped.
        told: codes of the diagnoses that its first run must have.
        trackers: where its runs go.
    """

    name: str
    loop: Loop
    needs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    trackers: tuple[str, ...] = TRACKERS

    @property
    def missing(self) -> list[str]:
        """Returns the required packages and programs that are missing here."""
        return [name for name in self.needs if not (_importable(name) or shutil.which(name))]


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


CASES: dict[str, Case] = {}


Words = str | tuple[str, ...]


def add(
    name: str,
    loop: Loop,
    needs: Words = (),
    told: Words = (),
    trackers: tuple[str, ...] = TRACKERS,
) -> None:
    """Adds a case to the table."""
    assert name not in CASES, f"two cases are called {name!r}"
    CASES[name] = Case(name, loop, _several(needs), _several(told), trackers)


def case(
    name: str, needs: Words = (), told: Words = (), trackers: tuple[str, ...] = TRACKERS
) -> Callable[[Loop], Loop]:
    """Adds the decorated function to the table."""

    def register(loop: Loop) -> Loop:
        add(name, loop, needs, told, trackers)
        return loop

    return register


def _several(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words
