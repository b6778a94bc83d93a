"""A process that has imported torch and forks for each loop: `fork_server.py [MODULE…]`.

Importing takes longer than most of the measured loops, and is the same for all. Each fork is a
fresh process otherwise: what logs is imported in it, with its own environment and directory.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import processes


class ForkServer:
    """The side that asks for loops; see `running`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, way: str, steps: int, milliseconds: int, folder: Path, **more: str
    ) -> dict[str, Any]:
        """Runs one loop to its end.

        Args:
            way: a way of `loop.py`.
            steps: number of steps.
            milliseconds: about how long each takes; a key of `loop.SIZES`.
            folder: its working directory.
            more: environment variables besides `processes.environment`.

        Returns:
            What the loop has measured.

        Raises:
            SystemExit: the loop has failed; with the end of its error output.
        """
        request = {
            "arguments": [way, steps, milliseconds],
            "folder": str(folder),
            "environment": processes.environment(**more),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the process that forks for each loop has ended")
        done = json.loads(answer)
        if done["status"]:
            raise SystemExit(f"{way} failed:\n{done['errors'][-4000:]}")
        return dict(json.loads(done["output"].splitlines()[-1]))


@contextmanager
def running(modules: Sequence[str] = ()) -> Iterator[ForkServer]:
    """Starts a process that imports torch and `modules`, and forks for each loop."""
    process = subprocess.Popen(
        [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=processes.environment(),
    )  # fmt: skip
    try:
        yield ForkServer(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()


def serve(modules: Sequence[str]) -> None:
    """Forks for each request on stdin, and answers on stdout."""
    import loop

    for name in modules:
        importlib.import_module(name)
    loop.import_lazily_loaded()
    if threading.active_count() > 1:
        raise SystemExit(f"a fork would lose these threads: {threading.enumerate()}")
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                _become(request, out.fileno(), err.fileno())
                print(json.dumps(loop.run(*request["arguments"])), flush=True)
                return  # The interpreter ends as in any program, and what must be closed is closed.
            _, status = os.waitpid(child, 0)
            out.seek(0)
            err.seek(0)
            answer = {
                "status": os.waitstatus_to_exitcode(status),
                "output": out.read().decode(),
                "errors": err.read().decode(errors="replace"),
            }
        print(json.dumps(answer), flush=True)


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Gives a fork its own directory, environment, input and outputs."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)


if __name__ == "__main__":
    serve(sys.argv[1:])
