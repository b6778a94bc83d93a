"""`start()` records without a block, until `end()`, another `start()` or the program's end."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.records import History, State
from lrtrack.tracking import program_end, unended

#: A loop at the top level of a script, whose scheduler is never stepped.
LOOP = """
import gc, sys, threading
import torch, lrtrack
model = torch.nn.Linear(8, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.StepLR(opt, 5)
def loop():
    for _ in range(40):
        opt.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        opt.step()
"""
#: Each of these endings of a program is a process of its own, forked to import torch only once.
ENDINGS = """
import json, os
run = lrtrack.start(opt, tracker="local", name="parent")  # imports what is needed only once
loop()
run.end()
gc.freeze()  # the end of each process would take a second to look for garbage
ENDINGS = "returns", "raises", "exits", "by hand"
statuses = {}
for ending in ENDINGS:
    if not (child := os.fork()):
        break
    statuses[ending] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
else:
    print(json.dumps(statuses))
    sys.exit()
if ending == "by hand":
    lrtrack.track(opt, sched, tracker="local", name=ending).__enter__()
else:
    lrtrack.start(opt, sched, tracker="local", name=ending)
loop()
if ending == "raises":
    raise ValueError
elif ending == "exits":
    sys.exit(3)
"""


def program(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    Path("program.py").write_text(code)
    command = [sys.executable, *(arguments or ("program.py",))]
    # Not in safe-path mode, in which `python -m` does not find the program.
    safe = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=safe)


def codes(run: History) -> list[str]:
    """The codes of a run's diagnoses."""
    return [diagnosis["code"] for diagnosis in run.run.diagnoses or ()]


def test_a_run_ends_with_its_program(local: Callable[[], list[History]]) -> None:
    """A run that nobody ends is delivered with its diagnoses, in the state of the program."""
    done = program(LOOP + ENDINGS)
    failed, finished = (State.FAILED, 40), (State.FINISHED, 40)
    runs = {h.run.name: h for h in local() if h.run.name != "parent"}

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"returns": 0, "raises": 1, "exits": 3, "by hand": 0}
    assert {name: (run.state, len(run.steps)) for name, run in runs.items()} == {
        "returns": finished, "raises": failed, "exits": failed, "by hand": finished,
    }  # fmt: skip
    assert {name for name, run in runs.items() if "LR001" in codes(run)} == {
        name for name, run in runs.items() if run.state is State.FINISHED
    }
    assert done.stderr.count("LR001") == 2


#: The last lines of a program, its exit status, and whether it has failed.
EXITS = {
    "pass": (0, False),
    "raise ValueError": (1, True),
    "sys.exit()": (0, False),
    "sys.exit(3)": (3, True),
    "exit('no')": (1, True),
    "raise SystemExit(2)": (2, True),
    "raise SystemExit": (0, False),
    "raise SystemExit(int())": (0, False),
    "with contextlib.suppress(SystemExit): sys.exit(4)": (0, False),
}


def test_how_a_program_ended() -> None:
    """Exceptions, exit statuses and returns are told apart after the program's last line."""
    path = program_end.__file__
    code = f"""
import atexit, contextlib, importlib.util, sys
spec = importlib.util.spec_from_file_location("program_end", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
end = module.ProgramEnd(print)
atexit.register(lambda: print(end.failed()))
"""
    endings = {}
    for last in EXITS:
        done = program(code + last)
        endings[last] = done.returncode, done.stdout == "True\n"

    assert endings == EXITS


def test_threads_and_modules(local: Callable[[], list[History]]) -> None:
    """An exception in the thread that started a run fails it, and `python -m` is a program."""
    code = """
def train():
    lrtrack.start(opt, sched, tracker='local', name='thread')
    loop()
    raise ValueError
thread = threading.Thread(target=train)
thread.start()
thread.join()
other = torch.optim.SGD(model.parameters(), lr=0.1)
lrtrack.start(other, tracker='local', name='program')
"""
    done = program(LOOP + code, "-m", "program")
    states = {run.run.name: run.state for run in local()}

    assert done.returncode == 0, done.stderr
    assert states == {"thread": State.FAILED, "program": State.FINISHED}


def test_end(training, local: Callable[[], list[History]]) -> None:
    """A run ends once, in the given state; its hooks are gone, and later steps are not recorded."""
    run = lrtrack.start(training.optimizer, training.scheduler, tracker="local")
    training.step()
    run.end("FAILED")
    run.end()
    training.step()

    (history,) = local()
    assert (history.state, list(history.steps)) == (State.FAILED, [0])
    assert unended._open == []


def test_end_inside_a_block(training, local: Callable[[], list[History]]) -> None:
    """A run that ends inside its block keeps the state given there."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
        run.end()
        with pytest.raises(UsageError, match="FINISHED"):
            run.end("DONE")

    assert [history.state for history in local()] == [State.FINISHED]


def test_nothing_is_replaced_when_no_run_is_open(training) -> None:
    """The functions by which a program exits are replaced only while a run is open."""
    before = sys.exit, threading.excepthook
    run = lrtrack.start(training.optimizer, tracker="local")
    meanwhile = sys.exit
    run.end()

    assert before[0] is not meanwhile
    assert before == (sys.exit, threading.excepthook)


def test_start_takes_the_options_of_track() -> None:
    """The signature of `start()` is that of `track()`, with another result."""
    started, tracked = inspect.signature(lrtrack.start), inspect.signature(lrtrack.track)

    assert list(tracked.parameters) == list(started.parameters)
    assert started.return_annotation == "TrackedRun"


def test_bad_options_leave_the_earlier_run_open(training) -> None:
    """A mistake in a call of `start()` does not end the run before it."""
    run = lrtrack.start(training.optimizer, tracker="local")
    with pytest.raises(UsageError, match="every"):
        lrtrack.start(training.optimizer, tracker="local", every=0)

    assert len(unended._open) == 1
    run.end()


def test_a_failed_start_leaves_nothing(training, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be opened is not kept, and its hooks are removed."""
    monkeypatch.setattr(unended, "keep", lambda block: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lrtrack.start(training.optimizer, tracker="local")

    assert (unended._open, unended._calls) == ([], {})
    assert not training.optimizer._optimizer_step_pre_hooks


def test_garbage_does_not_end_a_run(local: Callable[[], list[History]]) -> None:
    """A run goes on, and keeps its optimizer, when the program drops both."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    lrtrack.start(optimizer, tracker="local")
    del optimizer
    (kept,) = unended._open

    assert isinstance(kept.block.options.optimizer, torch.optim.SGD)
    kept.block.end(State.FINISHED)
    assert [history.state for history in local()] == [State.FINISHED]
