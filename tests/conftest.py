"""What every test gets: an empty working directory, a clean environment, a proof of tidiness."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import torch
from torch.nn.utils import clip_grad

from lrtrack.tracking.context import track

# Packages beside the tests, which pytest imports one by one.
for _name in ("wandb_loopback", "postgres"):
    _folder = Path(__file__).parent / _name
    _spec = importlib.util.spec_from_file_location(
        _name, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])
loopback = importlib.import_module("wandb_loopback.plugin").loopback

ORIGINALS = {
    "torch.autograd.backward": lambda: torch.autograd.backward,
    "Tensor.backward": lambda: torch.Tensor.backward,
    "clip_grad._clip_grads_with_norm_": lambda: clip_grad._clip_grads_with_norm_,
    "GradScaler.scale": lambda: torch.amp.GradScaler.scale,
    "GradScaler.step": lambda: torch.amp.GradScaler.step,
    "ReduceLROnPlateau.step": lambda: torch.optim.lr_scheduler.ReduceLROnPlateau.step,
}
#: Seconds after which a test gives up waiting. No test takes as long, even where ten others compete
#: for each processor: waiting ends with what is waited for.
PATIENCE = 120.0
_VENDORS = ("MLFLOW_", "WANDB_", "LRTRACK_", "_MLFLOW_")


@pytest.fixture(autouse=True)
def clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working directory, and none of the caller's tracker settings."""
    return _clean_place(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def nothing_left_behind(clean_place: Path) -> Iterator[None]:
    """No hook of ours in torch, no thread, no process, no open journal after a test."""
    with _tidy(clean_place.parent):
        yield


@pytest.fixture(scope="session")
def long_place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """The same clean place and proof of tidiness, for fixtures that serve many tests.

    A context manager that makes the place for as long as its block lasts, and yields its path.
    """

    @contextmanager
    def enter() -> Iterator[Path]:
        folder = tmp_path_factory.mktemp("long")
        with pytest.MonkeyPatch.context() as monkeypatch, _tidy(folder):
            yield _clean_place(folder, monkeypatch)

    return enter


def _clean_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(_VENDORS):
            monkeypatch.delenv(name)
    monkeypatch.setattr("lrtrack.settings._own_process", False)  # as a command run here leaves it
    if "mlflow" in sys.modules:  # `set_experiment` is for the whole process
        monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    # The 10 s that users wait at the end of a block are too few on a busy machine.
    monkeypatch.setitem(cast("dict[str, Any]", track.__kwdefaults__), "flush_timeout", PATIENCE)
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "0.5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    place = folder / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@contextmanager
def _tidy(folder: Path) -> Iterator[None]:
    before = {name: look() for name, look in ORIGINALS.items()}
    yield
    assert {name: look() for name, look in ORIGINALS.items()} == before
    within(10, lambda: not [t for t in threading.enumerate() if t.name.startswith("lrtrack")])
    within(5, lambda: open_journals() == [])
    within(30, lambda: shippers(folder) == [])


def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until `holds()`; fail after `seconds`, or after `PATIENCE` if that is longer."""
    seconds = max(seconds, PATIENCE)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"did not hold within {seconds} s"
        time.sleep(0.02)


def open_journals() -> list[str]:
    """Journals that this process has open."""
    files = [entry.path for entry in psutil.Process().open_files()]
    return [path for path in files if path.endswith(".journal")]


def shippers(place: Path) -> list[int]:
    """Process ids of living shippers of journal directories below `place`."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command = process.info["cmdline"] or []
        ours = "lrtrack.shipping" in command and any(str(place) in part for part in command)
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, made once: its migrations take seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(mlflow_database: Path, clean_place: Path) -> str:
    """A fresh embedded MLflow store in the working directory; its URI."""
    shutil.copy(mlflow_database, clean_place / "mlflow.db")
    return f"sqlite:///{clean_place / 'mlflow.db'}"


class Server:
    """A real `mlflow server` on a loopback port, which tests may stop and start again."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        shutil.copy(database, folder / "server.db")
        self.backend = f"sqlite:///{folder / 'server.db'}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", self.backend]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        within(60, self.answers)

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """Kill the server with its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path, mlflow_database: Path) -> Iterator[Server]:
    """A server of the test's own, not yet started."""
    folder = tmp_path / "server"
    folder.mkdir()
    found = Server(folder, mlflow_database)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Server]:
    """A running server for all tests of a file: it takes long to start."""
    found = Server(tmp_path_factory.mktemp("served"), mlflow_database)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def wandb_server(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A W&B server to which this process's runs go; nothing of the real home is touched."""
    for name, value in loopback.environment().items():
        monkeypatch.setenv(name, value)
    yield loopback
    if "wandb" in sys.modules:  # `wandb.Api` has started a service
        import wandb

        wandb.teardown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, driven by playwright; tests are skipped where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        if chromium is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium here: neither the system's nor playwright's own")
        launch = driver.chromium.launch
        found = launch(executable_path=chromium, args=quiet, timeout=1000 * PATIENCE)
        open_page = found.new_page

        def new_page(**options: Any) -> Any:
            page = open_page(**options)
            page.set_default_timeout(1000 * PATIENCE)
            return page

        found.new_page = new_page
        yield found
        found.close()


@pytest.fixture
def within_seconds() -> Callable[[float, Callable[[], bool]], None]:
    """`within`, for tests in other files."""
    return within


@pytest.fixture
def living_shippers(clean_place: Path) -> Callable[[], list[int]]:
    """Ids of the shippers that this test has running."""
    return lambda: shippers(clean_place.parent)


@pytest.fixture
def kill_shippers(living_shippers: Callable[[], list[int]]) -> Callable[[], None]:
    """Kill the shippers of this test, until none is left.

    Where one has just been started, wait for it first: on a busy machine it takes a while to be
    there, and would outlive a killing before that.
    """

    def none_is_left() -> bool:
        for shipper in living_shippers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(shipper, signal.SIGKILL)
        return living_shippers() == []

    return lambda: within(PATIENCE, none_is_left)


@pytest.fixture
def command_line(clean_place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `lrtrack …` as a user would, in a process of its own."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Half as many workers again as there are processors: many tests wait for servers."""
    return math.ceil(1.5 * (os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `soak` in runs of the whole suite; `tox -e soak` runs them all."""
    if os.environ.get("LRTRACK_SOAK", "") != "1" and len({item.path for item in items}) > 20:
        for item in items:
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.skip(reason="takes long: tox -e soak"))


_CONFORMANCE = "test_conformance.py::test_what_arrives"
_conformance: dict[str, list[bool]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each case of the conformance suite went; here, as workers report to the top."""
    _, _, test = report.nodeid.partition(_CONFORMANCE)
    if test and (report.when == "call" or report.outcome == "failed"):
        _conformance.setdefault(test, []).append(report.passed)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many cases there are, and into how many trackers they went."""
    if _conformance:
        passed = sum(all(each) for each in _conformance.values())
        cases = {test.rpartition("-")[0] for test in _conformance}
        trackers = {test.rpartition("-")[2] for test in _conformance}
        terminalreporter.write_line(
            f"conformance: {len(cases)} cases in up to {len(trackers)} trackers, "
            f"{passed} of {len(_conformance)} passed"
        )
