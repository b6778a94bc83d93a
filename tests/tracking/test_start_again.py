"""`start()` ends the run that it replaces: the optimizer's, the line's, or the variable's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lrtrack
from lrtrack.records import History, State
from lrtrack.tracking import unended

from .test_start import program


def test_the_same_optimizer_again(
    training, local: Callable[[], list[History]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`start()` ends the open run of the same optimizer, and a line on stderr says so."""
    lrtrack.start(training.optimizer, training.scheduler, tracker="local", name="first")
    training.step()
    run = lrtrack.start([training.optimizer], tracker="local", name="second")
    training.step()
    run.end()

    told = capsys.readouterr().err
    assert "The run 'first' has ended, because start() was called again with its optimizer" in told
    assert {history.run.name: (history.state, len(history.steps)) for history in local()} == {
        "first": (State.FINISHED, 1),
        "second": (State.FINISHED, 1),
    }


def test_the_same_place_again(new_training, local: Callable[[], list[History]]) -> None:
    """A cell that runs again ends the run before, also with a new optimizer; another prefix not."""
    cell = "lrtrack.start(make().optimizer, tracker='local', prefix=prefix)"
    space = {"lrtrack": lrtrack, "make": new_training, "prefix": ""}
    names = []
    for count, space["prefix"] in enumerate(("", "", "d/")):
        exec(compile(cell, f"<ipython-input-{count}-2c26b46b68ff>", "exec"), space)
        names.append([kept.block.options.prefix for kept in unended._open])
    for kept in list(unended._open):
        kept.block.end(State.FINISHED)

    assert names == [[""], [""], ["", "d/"]]
    assert len(local()) == 3


def test_the_same_variable_again(new_training, local: Callable[[], list[History]]) -> None:
    """A cell that was changed ends the run in its variable; another variable or prefix does not."""
    call = "lrtrack.start(make().optimizer, tracker='local', prefix=prefix)"
    space = {"lrtrack": lrtrack, "make": new_training, "prefix": ""}
    opened = []
    calls = ("run = ", ""), ("other = ", ""), ("run = ", ""), ("", ""), ("", ""), ("run = ", "d/")
    for at, (assigned, space["prefix"]) in enumerate(calls):
        exec(compile(assigned + call, f"cell {at}", "exec"), space)
        opened.append(len(unended._open))
    for kept in list(unended._open):
        kept.block.end(State.FINISHED)

    assert opened == [1, 2, 2, 3, 4, 5]


#: Runs cells as IPython does: an exception ends its cell alone, and each run has its own file name.
CELLS = """
import hashlib, sys
space, count = {"__name__": "__main__"}, 0
def cell(code):
    global count
    count += 1
    name = f"<ipython-input-{count}-{hashlib.sha1(code.encode()).hexdigest()[:12]}>"
    try:
        exec(compile(code, name, "exec"), space)
    except BaseException:
        sys.last_type, sys.last_value, sys.last_traceback = sys.exc_info()
begin = "opt = torch.optim.SGD(model.parameters(), lr=0.1)\\n"
begin += "run = lrtrack.start(opt, tracker='local', name=name)"
train = "for _ in range(3):\\n    model(torch.ones(4, 8)).sum().backward()\\n    opt.step()"
cell("import sys, torch, lrtrack\\nmodel = torch.nn.Linear(8, 1)")
"""
#: A cell of the first run fails, `end()` has its own cell, and the third run's cell is changed.
LIFE = """
for code in "name = 'first'", begin, train, "1 / 0", train, "name = 'second'", begin, train:
    cell(code)
for code in "run.end()", "name = 'third'", begin, train, "name = 'fourth'":
    cell(code)
for code in begin.replace("0.1", "0.2"), train, "sys.exit(1)", train:
    cell(code)
"""


def test_notebooks(local: Callable[[], list[History]]) -> None:
    """A run goes on from cell to cell until it is ended or begun again, or the kernel ends."""
    done = program(CELLS + LIFE)
    runs = {run.run.name: (run.state, len(run.steps)) for run in local()}
    ended = [line for line in done.stderr.splitlines() if "start() was called again" in line]

    assert done.returncode == 0, done.stderr
    assert runs == {
        "first": (State.FINISHED, 6),
        "second": (State.FINISHED, 3),
        "third": (State.FINISHED, 3),
        "fourth": (State.FINISHED, 6),
    }
    assert [line.split("'")[1] for line in ended] == ["first", "third"]
