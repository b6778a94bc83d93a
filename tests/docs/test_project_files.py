"""Files that repeat the same commands, versions and addresses agree with each other."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

import lrtrack

ROOT = Path(__file__).parents[2]


def commands_of(text: str) -> list[str]:
    """Returns the two set-up commands in a text."""
    return re.findall(r"python3 -m venv \.venv && .*", text)


def test_the_workflow_runs_the_commands_of_the_readme() -> None:
    """The CI workflow runs exactly the two commands of README.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(workflow)["jobs"]
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]

    assert len(commands_of(readme)) == 2
    assert commands_of(readme) == [step for step in steps if step.startswith("python3 -m venv")]


def test_pre_commit_runs_what_the_lint_environment_runs() -> None:
    """The pre-commit hooks are the commands of `tox -e lint`, in the same order."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    lint = (ROOT / "tox.ini").read_text(encoding="utf-8").partition("[testenv:lint]")[2]
    commands = lint.partition("\ncommands =\n")[2].partition("\n\n")[0]

    assert [line.strip() for line in commands.splitlines()] == entries


def test_there_is_one_version() -> None:
    """The installed version, `lrtrack.__version__` and the changelog agree."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert "version" in project["dynamic"]
    assert lrtrack.__version__ == version("lrtrack")
    assert f"\n## {lrtrack.__version__}\n" in changelog


def test_issue_templates_are_valid() -> None:
    """Every issue template is YAML with a name and fields that have labels."""
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml")):
        template = yaml.safe_load(path.read_text(encoding="utf-8"))

        assert template["name"]
        assert all(field["attributes"]["label"] for field in template["body"])
