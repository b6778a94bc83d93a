"""`lrtrack doctor`: what it sees, what it never shows, and that it leaves no trace."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.schedules import Schedule


@pytest.fixture
def undelivered(journal: Callable[..., str], clean_place: Path) -> str:
    """A finished run that waits for its delivery to MLflow; its id."""
    run_id = journal(Schedule("constant"), [1.0, 0.5], targets=(Target("mlflow"),))
    Layout(clean_place / ".lrtrack").marker(run_id).touch()
    return run_id


def row(shown: str, name: str) -> str:
    """The text beside `name`."""
    found = re.search(rf"^  {re.escape(name)} +(.*)$", shown, re.MULTILINE)
    assert found is not None, shown
    return found[1]


def test_an_empty_directory_stays_empty(command_line, clean_place: Path):
    """It looks and makes nothing: no store, no journals; all is well."""
    result = command_line("doctor")

    assert (result.returncode, result.stderr) == (0, "")
    assert row(result.stdout, "mlflow") == version("mlflow")
    assert f"sqlite:///{clean_place}/mlflow.db: no store there yet\n" in result.stdout
    assert row(result.stdout, "directory") == f"{clean_place}/.lrtrack (not created yet)"
    assert list(clean_place.iterdir()) == []


def test_what_it_shows(lrtrack, store: str, digits):
    """Versions, trackers, devices and journals, each with its facts."""
    result = lrtrack("doctor")
    trackers = result.stdout.partition("Trackers\n")[2]

    assert result.exit_code == 0
    assert re.findall(r"^\w+$", result.stdout, re.MULTILINE) == [
        "Versions",
        "Trackers",
        "Devices",
        "Journals",
    ]
    assert {"local", "mlflow"} <= set(row(trackers, "installed").split(", "))
    assert row(trackers, "configured") == "not set; mlflow is used"
    assert row(trackers, "mlflow") == f"{store} answers, 1 experiment"
    assert row(trackers, "cpu") != ""
    assert row(trackers, "runs") == "4"
    assert row(trackers, "shipper") == "not running (starts when needed)"
    assert row(trackers, "undelivered") == "nothing"


def test_the_configuration_is_shown(lrtrack, clean_place: Path):
    """What `[tool.lrtrack]` says is what counts."""
    text = '[tool.lrtrack]\ntracker = "local"\nexperiment = "digits"\ndir = "journals"\n'
    (clean_place / "pyproject.toml").write_text(text)
    shown = lrtrack("doctor").stdout

    assert row(shown, "configured") == "local"
    assert row(shown, "experiment") == "digits"
    assert row(shown, "directory") == f"{clean_place}/journals (not created yet)"


def test_an_undelivered_run(lrtrack, undelivered: str, clean_place: Path):
    """A finished run that waits is named with where it has to go: exit status 1 and the remedy."""
    result = lrtrack("doctor")
    size = Layout(clean_place / ".lrtrack").journal(undelivered).stat().st_size

    assert result.exit_code == 1
    assert row(result.stdout, "undelivered") == "1"
    assert f"constant-0 to mlflow: {size:,} bytes; waiting for a shipper\n" in result.stdout
    assert result.stdout.endswith("\nFix: upload the undelivered runs with lrtrack sync\n")


def test_a_run_that_goes_on(lrtrack, clean_place: Path):
    """What is not delivered of a run that still writes is no trouble."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("1" * 32, "going", targets=(Target("mlflow"),))
    writer = JournalWriter(layout.journal(run.id), run)
    layout.marker(run.id).touch()
    result = lrtrack("doctor")
    writer.close(State.FINISHED)

    assert result.exit_code == 0
    assert row(result.stdout, "undelivered") == "1"
    assert "going to mlflow: " in result.stdout
    assert result.stdout.endswith(" bytes; running\n")


def test_a_broken_journal(lrtrack, undelivered: str, clean_place: Path):
    """A journal that cannot be read counts as undelivered, with the reason."""
    path = Layout(clean_place / ".lrtrack").journal(undelivered)
    path.write_bytes(b"rubbish")
    result = lrtrack("doctor")

    assert result.exit_code == 1
    assert f"cannot read {path}: it is not a journal\n" in result.stdout


def test_a_broken_tracker_does_not_hide_the_others(command_line, tmp_path: Path, store: str):
    """Somebody else's plugin that fails is one row; the trackers after it still have theirs."""
    folder = tmp_path / "plugins"
    info = folder / "someone-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lrtrack.trackers]\nabc = someone_missing:Tracker\n")
    result = command_line("doctor", PYTHONPATH=str(folder))

    assert result.returncode == 0
    assert row(result.stdout, "abc") == (
        "not usable: Cannot load the tracker 'abc': No module named 'someone_missing'"
    )
    assert f"{store} answers, 1 experiment\n" in result.stdout


def test_a_password_is_never_shown(command_line, undelivered: str):
    """A tracker that cannot be reached is one row, with the address but not the password."""
    result = command_line("doctor", MLFLOW_TRACKING_URI="http://user:hunter2@127.0.0.1:9")

    assert result.returncode == 1
    assert (
        "not usable: MLflow at http://127.0.0.1:9: cannot be reached (Connection refused)\n"
    ) in result.stdout
    assert "hunter2" not in result.stdout + result.stderr


def test_no_traceback_without_a_readable_configuration(lrtrack, clean_place: Path):
    """A `pyproject.toml` that is no TOML is the user's to mend: exit status 2."""
    (clean_place / "pyproject.toml").write_text("[tool.lrtrack\n")
    result = lrtrack("doctor")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Fix: correct or remove the file." in result.stderr


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str], str]:
    """`damaged(program)` returns a folder whose wandb runs that program when it is imported."""

    def make(program: str) -> str:
        (tmp_path / "packages" / "wandb").mkdir(parents=True)
        (tmp_path / "packages" / "wandb" / "__init__.py").write_text(program)
        return str(tmp_path / "packages")

    return make


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise OSError('libx.so: http://me:hunter2@h')", "OSError: libx.so: http://h"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
    ],
)
def test_imports_find_a_damaged_installation(command_line, damaged, program, reason):
    """A package that cannot be imported has its error and the fix beside it: exit status 1."""
    result = command_line("doctor", "--imports", PYTHONPATH=damaged(program))

    assert result.returncode == 1
    assert row(result.stdout, "wandb") == (
        f"{version('wandb')}, cannot be imported: {reason}. "
        "Fix: pip install --force-reinstall wandb"
    )
    assert row(result.stdout, "mlflow") == f"{version('mlflow')}, can be imported"


def test_a_package_without_its_files(lrtrack, monkeypatch, clean_place: Path):
    """An installation that lost its files is told apart from one that was never there."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "wandb" else found(name)
    )

    assert row(lrtrack("doctor").stdout, "wandb") == (
        f"{version('wandb')}, but its files are missing. Fix: pip install --force-reinstall wandb"
    )


def test_devices_that_are_unknown(lrtrack, monkeypatch, clean_place: Path):
    """Where torch fails, the reason is in place of the devices: exit status 1."""

    def fail() -> None:
        raise OSError("libcudart.so: cannot open")

    monkeypatch.setattr("lrtrack.capture.devices.devices", fail)
    result = lrtrack("doctor")

    assert (result.exit_code, row(result.stdout, "unknown")) == (1, "libcudart.so: cannot open")
    assert row(result.stdout, "directory") == f"{clean_place}/.lrtrack (not created yet)"
