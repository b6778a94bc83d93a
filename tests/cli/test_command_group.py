"""The `lrtrack` command as a whole."""

import hashlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from lrtrack import __version__, errors
from lrtrack.cli._group import LazyGroup

PROBE = """
import sys
from click.testing import CliRunner
from lrtrack.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
heavy = {"torch", "mlflow", "wandb", "numpy", "scipy", "rich", "pyarrow"} & set(sys.modules)
print(sorted(heavy), sorted(name for name in sys.modules if name.startswith("lrtrack.cli.")))
"""


def test_help_imports_nothing_heavy():
    """`--help` lists all commands without importing one, or anything large."""
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)

    assert run.stdout == "[] ['lrtrack.cli._group', 'lrtrack.cli._streams']\n"


def test_help_names_all_commands(lrtrack):
    """Every command has its line."""
    shown = lrtrack("--help").output

    assert all(
        f"\n  {name} " in shown
        for name in ("compare", "demo", "doctor", "preview", "runs", "sweep", "sync")
    )


def test_the_version(lrtrack):
    """`--version` says the package's version."""
    assert f"lrtrack, version {__version__}\n" == lrtrack("--version").output


def test_a_misspelt_command(lrtrack):
    """The nearest command is offered, as wrong usage."""
    result = lrtrack("compar")

    assert result.exit_code == 2
    assert "Unknown command 'compar'. Did you mean 'compare'?" in result.stderr


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A function that runs a command whose body is the given statement."""

    def run(statement):
        name = f"failing_{hashlib.md5(statement.encode()).hexdigest()}"
        text = f"import click\n@click.command()\ndef command():\n    {statement}\n"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        group = click.group(cls=LazyGroup, commands={"go": (name, "")})(lambda: None)
        return CliRunner().invoke(group, ["go"])

    return run


@pytest.mark.parametrize(
    ("error", "status"), [("NothingFound", 1), ("TrackerUnavailable", 1), ("UsageError", 2)]
)
def test_errors_become_one_line(failing, error, status):
    """Lrtrack's errors give a message on stderr, their exit status, and no traceback."""
    result = failing(f"from lrtrack import errors; raise errors.{error}('no http://a:b@host')")

    assert issubclass(getattr(errors, error), errors.LRTrackError)
    assert (status, "Error: no http://host\n", "") == (
        result.exit_code,
        result.stderr,
        result.stdout,
    )


def test_interruption(failing):
    """Ctrl-C is quiet, with the exit status that shells know."""
    result = failing("raise KeyboardInterrupt")

    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_warnings_are_one_line(failing):
    """Lrtrack's own warnings do not name the line of code they come from."""
    result = failing("from lrtrack.errors import warn; warn('late')")

    assert (result.exit_code, result.stderr) == (0, "Warning: late\n")


def test_a_closed_pipe_is_quiet(digits):
    """Where the reader went away, there is no traceback."""
    run = subprocess.Popen(
        [sys.executable, "-c", "from lrtrack.cli import main; main()", "compare", "--tracker",
         "local", "--experiment", "digits", "--format", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    run.stdout.close()
    complaint = run.stderr.read()
    run.stderr.close()
    run.wait()

    assert complaint == ""
