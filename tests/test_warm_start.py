"""Programs that tests start from a server of imports behave like new processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures import warm_start

#: What a program can find out about itself, apart from its ids.
LOOKS = """
import json, os, sys, tempfile, threading
import multiprocessing.process
import lrtrack
files = [f for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}")]
heavy = {"numpy", "pandas", "torch", "mlflow", "wandb", "scipy"} & set(vars(sys)["modules"])
print(json.dumps([
    sys.argv, sys.orig_argv, vars(sys)["path"], os.getcwd(), os.umask(0), dict(os.environ),
    sorted(heavy),
    open("/proc/self/cmdline").read().rstrip(chr(0)), threading.active_count(),
    sorted(open("/proc/self/environ").read().rstrip(chr(0)).split(chr(0))), len(files),
    os.getsid(0) == os.getpid(), __name__, sys.stdin.read(), sys.flags.safe_path,
    tempfile.gettempdir(), multiprocessing.process.ORIGINAL_DIR,
]))
"""
IMPORTS = """
import sys
import {name}
names = ("numpy", "pandas", "pyarrow", "torch", "mlflow", "wandb", "sqlalchemy")
print([name for name in names if name in vars(sys)["modules"]])
print({name}.__spec__.loader, {name}.__name__)
"""


def seen(code: str, *arguments: str, **options: Any) -> tuple[int, str, str]:
    """Returns exit status, standard output and standard error of a program."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    return process.returncode, process.stdout.replace(" at 0x", "\n").split("\n")[0], process.stderr


def both(code: str, *arguments: str, **options: Any) -> list[tuple[int, str, str]]:
    """Returns what a program does from a server, and as a new process."""
    warm = seen(code, *arguments, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "_folder", None)
        return [warm, seen(code, *arguments, **options)]


@pytest.fixture(autouse=True)
def servers() -> None:
    """Skips where all programs are new processes."""
    if warm_start._folder is None or warm_start.COLD_VARIABLE in os.environ:
        pytest.skip("programs start from scratch here")


def test_what_a_program_sees_of_itself(clean_place: Path) -> None:
    """Arguments, environment, directory, files and loaded packages are those of a new process."""
    options = {"input": "in", "start_new_session": True, "env": {**os.environ, "TESTS": "ö"}}
    warm, cold = both(LOOKS, "a", "b c", **options)

    assert cold == warm


@pytest.mark.parametrize("name", ["lrtrack.tracking", "mlflow", "wandb"])
def test_an_import_brings_what_it_needs(name: str) -> None:
    """An import loads the same packages as in a new process, and modules have their own loaders."""
    warm, cold = both(IMPORTS.format(name=name) + "# lrtrack")

    assert cold == warm


@pytest.mark.parametrize(
    "end",
    [
        "sys.exit(7)",
        "sys.exit('why')",
        "raise KeyError('x')",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os._exit(3)",
        "raise KeyboardInterrupt",
        "import atexit; atexit.register(print, 'end')",
    ],
)
def test_how_a_program_ends(end: str) -> None:
    """Status and messages at the end are those of a new process."""
    warm, cold = both(f"import sys, lrtrack\ndef end():\n    {end}\nend()")

    assert cold == warm


def test_programs_draw_different_numbers() -> None:
    """Two programs draw different numbers, and W&B gives their runs different ids."""
    code = (
        "import random, numpy, wandb.sdk.lib.runid as ids\n"
        "print(random.random(), numpy.random.random(), ids.generate_id())"
    )
    first, second = (seen(code)[1].split() for _ in range(2))

    assert set() == set(first) & set(second)


def test_a_program_that_is_killed() -> None:
    """A running program can be asked for its state, and killed."""
    command = [
        sys.executable,
        "-P",
        "-c",
        "import time, lrtrack; print(1, flush=True); time.sleep(999)",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        running = process.poll()
        process.kill()

    assert (running, process.returncode) == (None, -signal.SIGKILL)


def test_a_timeout() -> None:
    """A program that takes too long is killed."""
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-P", "-c", "import time, lrtrack; time.sleep(99)"], timeout=0.1
        )


def test_a_program_comes_from_a_server() -> None:
    """Where nothing speaks against it, another process than this one is the program's parent."""
    status, parent, _ = seen("import os, lrtrack; print(os.getppid())")

    assert status == 0
    assert parent != str(os.getpid())


def test_a_new_process_where_a_test_asks_for_it(cold_start: None) -> None:
    """With the fixture `cold_start`, this process is the program's parent."""
    assert (0, str(os.getpid()), "") == seen("import os, lrtrack; print(os.getppid())")


@pytest.mark.parametrize("by_name", [False, True], ids=["Python", "env python"])
def test_a_group_of_its_own(by_name: bool) -> None:
    """A program that is started in a process group of its own leads it, and is forked too."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["/usr/bin/env", "python"] if by_name else [sys.executable]
    code = "import os, lrtrack; print(os.getpgid(0) == os.getpid(), os.getppid())"
    process = subprocess.run(
        [*command, "-P", "-c", code],
        env=environment,
        process_group=0,
        stdout=subprocess.PIPE,
        text=True,
    )
    leads, parent = process.stdout.split()

    assert leads == "True"
    assert parent != str(os.getpid())


def test_a_program_without_buffers(clean_place: Path) -> None:
    """With `-u`, all that a program has printed arrives, however it ends."""
    Path("program.py").write_text("import os, lrtrack\nprint(os.getppid(), end='')\nos._exit(0)")
    process = subprocess.run(
        [sys.executable, "-u", "program.py"], stdout=subprocess.PIPE, text=True
    )

    assert (process.stdout != str(os.getpid())) == bool(os.environ.get("PYTHONSAFEPATH"))
    assert process.stdout.isdecimal()


def test_this_worker_comes_from_a_server() -> None:
    """A worker of pytest-xdist is a fork of the process that has collected the tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("these tests run in one process")
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")

    assert [Path(parent[2]).name, parent[4]] == ["warm_server.py", "workers"]
