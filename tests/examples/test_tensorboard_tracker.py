"""The worked tracker of TensorBoard event files, as somebody else's package."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def pages(clean_place: Path) -> Iterator[Callable[..., Any]]:
    """What a real TensorBoard's scalar pages ask of it, of `runs/` in the working directory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-P",
        "-m",
        "tensorboard.main",
        "--logdir",
        str(clean_place / "runs"),
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--reload_interval", "1"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    def ask(what: str, **about: str) -> Any:
        query = urllib.parse.urlencode(about)
        url = f"http://127.0.0.1:{port}/data/plugin/scalars/{what}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return json.load(reply)
        except OSError:
            return {}

    yield ask
    server.terminate()
    server.wait()


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_contract():
    """Its own test file, run as its README says: nothing fails, and nothing is skipped."""
    quiet = ("-q", "-p", "no:cacheprovider", "-c", str(PACKAGE / "pyproject.toml"))
    done = python("-m", "pytest", *quiet, str(PACKAGE))

    assert done.returncode == 0, done.stdout
    assert " passed in " in done.stdout.splitlines()[-1], done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.usefixtures("installed")
def test_it_works_by_its_name(pages, command_line, within_seconds):
    """Runs go there by the name alone, come back in a report, and TensorBoard's pages show them."""
    done = python(str(EXAMPLES / "quickstart.py"), LRTRACK_TRACKER="tensorboard")
    asked = ("--tracker", "tensorboard", "--experiment", "quickstart", "--format", "json")
    errors = [line for line in done.stderr.splitlines() if "Upload is still running" not in line]

    def schedules():
        return json.loads(command_line("compare", *asked).stdout)["schedules"]

    assert (done.returncode, errors) == (0, [])
    within_seconds(
        60, lambda: [(row["runs"], row["steps"]) for row in schedules()] == [(2, 300)] * 3
    )
    ids = {each for row in schedules() for each in row["run_ids"]}
    within_seconds(60, lambda: set(pages("tags")) == ids)
    assert all({"lr", "loss", "grad_norm"} <= set(tags) for tags in pages("tags").values())
    for run in ids:
        curve = pages("scalars", run=run, tag="lr")
        assert len(curve) == 300
