"""The table of cases.

A case is a function that trains a little inside `lrtrack.track` and writes down what is true. To
add one, in any file `<family>_cases.py` of this folder (`conftest.py` imports them all):

    @case("sgd with momentum")
    def sgd_with_momentum(truth: Truth) -> None:
        task = Task()
        optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
        with truth.track(optimizer):                # `lrtrack.track`, with what the suite adds
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = task.loss()
                loss.backward()
                truth.step(optimizer, loss)         # right before the step: LRs, norms, loss
                optimizer.step()

Rows of a table are added with `add("optimizer SGD", partial(loop, row))`. Parameters of `case` and
`add`: `needs="timm"` (or several names) skips the case, with a reason, where a package is absent.
`truth.put(momentum=0.9)` writes down another metric of the step to come, `truth.after(…)` one of
the step just done; `truth.another("d")` is a second run of the same case. Whatever the trackers
have beyond that, or lack, or have twice, fails the case. So does a diagnosis that is not declared:
`told="LR001"` (or several codes) for a case whose loop has the mistake, `other.told = (…)` for one
of its further runs. Every case begins with the seed 0, in an empty working directory of the suite,
with warnings as errors, and without an open run.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from .truth import Truth

#: Optimizer steps of a usual case: enough for every schedule here to move.
STEPS = 6

Loop = Callable[[Truth], None]


@dataclass(frozen=True)
class Case:
    """One loop.

    Attributes:
        name: its test id, and the name of its run.
        loop: trains, and writes down the truth.
        needs: packages, or programs, without which it is skipped.
        told: codes of the diagnoses that its first run is to have.
    """

    name: str
    loop: Loop
    needs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """What it needs and is not here."""
        return [name for name in self.needs if not (_importable(name) or shutil.which(name))]


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


CASES: dict[str, Case] = {}


Words = str | tuple[str, ...]


def add(name: str, loop: Loop, needs: Words = (), told: Words = ()) -> None:
    """Put a case into the table."""
    assert name not in CASES, f"two cases are called {name!r}"
    CASES[name] = Case(name, loop, _several(needs), _several(told))


def case(name: str, needs: Words = (), told: Words = ()) -> Callable[[Loop], Loop]:
    """Put the decorated function into the table."""

    def register(loop: Loop) -> Loop:
        add(name, loop, needs, told)
        return loop

    return register


def _several(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words
