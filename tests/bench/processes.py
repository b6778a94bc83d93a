"""Runs measured work in separate processes, with fresh directories, servers and memory readings."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_FOREIGN = ("MLFLOW_", "WANDB_", "LRTRACK_")


@dataclass(frozen=True)
class Done:
    """A successful process: its output, seconds, and peak memory in bytes."""

    output: str
    seconds: float
    memory: int

    @property
    def found(self) -> dict[str, Any]:
        """The JSON in its last line."""
        return dict(json.loads(self.output.splitlines()[-1]))


def environment(**more: str) -> dict[str, str]:
    """Returns this process's environment without the user's tracker settings.

    Programs of the benchmark import those beside them, also where tests run them, which find
    modules in their own places alone.
    """
    own = {name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)}
    own.pop("PYTHONSAFEPATH", None)
    quiet = {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**own, **quiet, "LRTRACK_SHIPPER_IDLE": "0.2", "GIT_PYTHON_REFRESH": "quiet", **more}


def python(*arguments: object, folder: Path, **more: str) -> Done:
    """Runs Python to its end; raises SystemExit with its output if it fails."""
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{command} failed:\n{err.read().decode()[-4000:]}")
        return Done(out.read().decode(), seconds, usage.ru_maxrss * 1024)


def lrtrack(*arguments: object, folder: Path, **more: str) -> Done:
    """Runs the command line."""
    code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
    return python("-c", code, *arguments, folder=folder, **more)


def empty_store(folder: Path) -> Path:
    """Creates an MLflow store with its migrations done, to be copied."""
    path = folder / "mlflow.db"
    code = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).create_experiment('bench')"
    python("-c", code, f"sqlite:///{path}", folder=folder)
    return path


def in_rounds(rounds: int, ways: Sequence[str], run: Any) -> list[dict[str, Any]]:
    """Runs `run(way)` for each way, in a new random order each round; returns a mapping per
    round.
    """
    found = []
    for number in range(rounds):
        order = random.sample(list(ways), len(ways))
        found.append({way: run(way) for way in order})
        print(f"  round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return found


def shippers(place: Path) -> list[int]:
    """Returns the shippers of journal directories below `place`."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if "lrtrack.shipping" in command and any(str(place) in part for part in command):
            found.append(process.pid)
    return found


def all_shipped(place: Path, seconds: float = 600) -> None:
    """Waits until no shipper works below `place`; stops it after `seconds`."""
    deadline = time.monotonic() + seconds
    while living := shippers(place):
        if time.monotonic() > deadline:
            for each in living:
                os.kill(each, signal.SIGKILL)
        time.sleep(0.05)


def free_port() -> int:
    """Returns an unused port of 127.0.0.1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[str]:
    """Starts a real `mlflow server` with one worker and no job workers; yields its address."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", database, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("ab") as log:
        own = environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log,
                                   start_new_session=True)  # fmt: skip
    try:
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit((folder / "server.log").read_text()[-4000:])
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def place() -> Iterator[Path]:
    """Yields an empty directory, and removes it after its shippers have exited."""
    folder = Path(tempfile.mkdtemp(prefix="lrtrack-bench-"))
    try:
        yield folder
        all_shipped(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[str | None]:
    """Starts a PostgreSQL server; yields its database URI, or None if it is not installed."""
    package = beside("postgres")
    try:
        with package.running() as cluster:
            yield cluster.uri
    except package.Missing:
        yield None


def beside(name: str) -> Any:
    """Imports a package of `tests/`, which is not a package itself."""
    folder = HERE.parent / name
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package
