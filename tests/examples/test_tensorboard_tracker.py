"""The worked tracker of TensorBoard event files, as somebody else's package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGE = EXAMPLES / "tensorboard_tracker"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as `pip install` leaves it, for the processes that a test starts."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = [
        line
        for group, names in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(entries) + "\n")
    path = [str(PACKAGE), str(info.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    return info.parent


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of the test's own."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_contract():
    """Its own test file, run as its README says: nothing fails, and nothing is skipped."""
    quiet = ("-q", "-p", "no:cacheprovider", "-c", str(PACKAGE / "pyproject.toml"))
    done = python("-m", "pytest", *quiet, str(PACKAGE))

    assert done.returncode == 0, done.stdout
    assert " passed in " in done.stdout.splitlines()[-1]
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.usefixtures("installed")
def test_it_works_by_its_name(clean_place, command_line):
    """Runs go there by the name alone, come back in a report, and TensorBoard itself shows them."""
    done = python(str(EXAMPLES / "quickstart.py"), LRTRACK_TRACKER="tensorboard")
    asked = ("--tracker", "tensorboard", "--experiment", "quickstart", "--format", "json")
    report = json.loads(command_line("compare", *asked).stdout)
    shown = python("-c", SHOWN, str(clean_place / "runs"))

    assert (done.returncode, done.stderr) == (0, "")
    assert [row["runs"] for row in report["schedules"]] == [2, 2, 2]
    assert [row["steps"] for row in report["schedules"]] == [300, 300, 300]
    ids = {each for row in report["schedules"] for each in row["run_ids"]}
    drawn = dict.fromkeys(("grad_norm", "loss", "lr"), 300)
    assert json.loads(shown.stdout) == dict.fromkeys(ids, drawn)


#: How TensorBoard's scalar page finds runs and their curves.
SHOWN = """
import json, sys
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext

multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
multiplexer.AddRunsFromDirectory(sys.argv[1])
multiplexer.Reload()
found = MultiplexerDataProvider(multiplexer, sys.argv[1]).read_scalars(
    RequestContext(), experiment_id="", plugin_name="scalars", downsample=10_000
)
shown = ("grad_norm", "loss", "lr")
print(json.dumps({run: {tag: len(tags[tag]) for tag in shown} for run, tags in found.items()}))
"""
