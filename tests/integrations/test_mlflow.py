"""MLflow's plugin adds machine tags only where they are enabled and torch is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from lrtrack.errors import UsageError
from lrtrack.integrations.mlflow import MachineTags
from lrtrack.settings import read

GROUP = "mlflow.run_context_provider"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

PROGRAM = """
import json, os, sys
import mlflow

def tags(run):
    found = mlflow.get_run(run.info.run_id).data.tags
    return {name: found[name] for name in found if name.startswith("lrtrack.")}

def begun():
    with mlflow.start_run() as run:
        return tags(run)

found, loaded = {}, "torch" in sys.modules
os.environ["LRTRACK_MLFLOW_TAGS"] = "1"
found["without torch"], found["torch"] = begun(), loaded or "torch" in sys.modules
import torch
found["on"] = begun()
del os.environ["LRTRACK_MLFLOW_TAGS"]
found["off"] = begun()
with open("pyproject.toml", "w") as file:
    print("[tool.lrtrack]", "mlflow_tags = true", sep="\\n", file=file)
found["file"] = begun()
with open("pyproject.toml", "w") as file:
    print("[tool.lrtrack", file=file)
found["broken"] = begun()
found["started"] = torch.cuda.is_initialized()
print(json.dumps(found))
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which lrtrack's MLflow entry points are those of `pyproject.toml`."""
    entries = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][GROUP]
    folder = tmp_path / "site" / "lrtrack_plugin-0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lrtrack-plugin\nVersion: 0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    path = os.pathsep.join(filter(None, [str(folder.parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": ""}


def test_the_runs_that_mlflow_begins(installed, store) -> None:
    """A disabled plugin adds nothing and does not load torch; an enabled one tags the machine."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={**installed, "MLFLOW_TRACKING_URI": store},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    tags = json.loads(process.stdout.splitlines()[-1])

    nothing = ("without torch", "off", "broken")
    assert {name: tags[name] for name in nothing} == {name: {} for name in nothing}
    assert (tags["torch"], tags["started"]) == (False, False)
    assert tags["on"] == tags["file"]
    assert tags["on"]["lrtrack.machine.torch"] == torch.__version__
    assert tags["on"]["lrtrack.machine.cpus"] == str(len(os.sched_getaffinity(0)))
    assert tags["on"]["lrtrack.machine.cpu"]


def test_the_plugin_loads_nothing(clean_place) -> None:
    """`import mlflow` loads only this one small file of lrtrack beyond the package itself."""
    code = (
        "import json, sys, typing, lrtrack, lrtrack.integrations; before = set(sys.modules);"
        "import lrtrack.integrations.mlflow as plugin; plugin.MachineTags().in_context();"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    process = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr

    assert json.loads(process.stdout) == ["lrtrack.integrations.mlflow"]


def test_a_machine_that_tells_nothing(monkeypatch) -> None:
    """Facts that cannot be determined are left out, and nothing is raised into the user's
    program.
    """
    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setenv("LRTRACK_MLFLOW_TAGS", "perhaps")
    provider = MachineTags()

    assert provider.in_context() is False
    assert (
        {"lrtrack.machine.cpus"}
        <= set(provider.tags())
        <= {
            "lrtrack.machine.cpus",
            "lrtrack.machine.cpu",
            "lrtrack.machine.gpu",
        }
    )


def test_several_gpus_alike(monkeypatch) -> None:
    """Several equal GPUs are counted in one tag."""
    monkeypatch.setattr(
        "lrtrack.integrations.mlflow._nvidia_models",
        lambda: ["NVIDIA H100", "NVIDIA H100", "NVIDIA T4"],
    )

    assert MachineTags().tags()["lrtrack.machine.gpu"] == "2 × NVIDIA H100, NVIDIA T4"


@pytest.mark.parametrize(("said", "expected"), [("1", True), ("On", True), ("0", False)])
def test_the_variable_comes_before_the_file(said, expected, clean_place) -> None:
    """The environment variable overrides the configuration file."""
    for written in ("true", "false"):
        Path("pyproject.toml").write_text(f"[tool.lrtrack]\nmlflow_tags = {written}\n")
        assert read({"LRTRACK_MLFLOW_TAGS": said}, clean_place).mlflow_tags is expected
        assert read({}, clean_place).mlflow_tags is (written == "true")


def test_a_switch_is_on_or_off(clean_place) -> None:
    """A value other than on or off is reported with the valid ones."""
    with pytest.raises(UsageError, match=r"LRTRACK_MLFLOW_TAGS must be one of 1, true.*'perhaps'"):
        read({"LRTRACK_MLFLOW_TAGS": "perhaps"}, clean_place)
    Path("pyproject.toml").write_text('[tool.lrtrack]\nmlflow_tags = "yes"\n')
    with pytest.raises(UsageError, match=r"mlflow_tags must be true or false, not 'yes'"):
        read({}, clean_place)
