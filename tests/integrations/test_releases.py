"""The oldest and newest releases of frameworks are the same wherever they are named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: `| framework | oldest, when | newest, when |` on the page about situations.
ROW = re.compile(r"^\| ([\w -]+) \| ([\d.]+)[^|]* \| ([\d.]+)[^|]* \|$", re.M)
#: What a framework of the page is called on PyPI, where its name is not that in lower case.
ON_PYPI = {
    "Ignite": "pytorch-ignite",
    "Lightning and Fabric": "lightning",
    "Stable-Baselines3": "stable-baselines3",
}


def pins(path: str) -> dict[str, str]:
    """Returns package → release of a file of constraints."""
    text = (ROOT / path).read_text("utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.M)
    return {name.lower().replace("_", "-"): release for name, release in found}


def of_the_page() -> dict[str, tuple[str, str]]:
    """Returns package → oldest and newest release in the page's table."""
    text = (ROOT / "docs/framework_situations.md").read_text("utf-8")
    table = text.partition("## Releases")[2]
    return {
        ON_PYPI.get(name, name.lower()): (oldest, newest)
        for name, oldest, newest in ROW.findall(table)
    }


def numbers(release: str) -> list[int]:
    """Returns a release's numbers, without zeros at the end: `4.50` is `4.50.0`."""
    parts = [int(part) for part in release.split(".")]
    while parts[-1] == 0:
        parts.pop()
    return parts


def test_the_page_names_the_releases_that_are_tested() -> None:
    """The page's oldest releases are those of `lowest.txt`, and its newest those of the suite."""
    page, lowest, suite = (
        of_the_page(),
        pins("tests/integrations/lowest.txt"),
        pins("constraints.txt"),
    )

    assert len(page) == 10
    assert {name: (lowest[name], suite[name]) for name in page} == page


def test_extras_accept_no_release_older_than_the_oldest_that_is_tested() -> None:
    """The lower bound of each framework in each extra is the release in `lowest.txt`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = pins("tests/integrations/lowest.txt")
    requirements = [
        re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)$", requirement)
        for extra in project["optional-dependencies"].values()
        for requirement in extra
    ]
    bounds = [(match[1], numbers(match[2])) for match in requirements if match]
    tested = [(name, bound) for name, bound in bounds if name in of_the_page()]

    assert len(tested) == 11
    assert [(name, numbers(lowest[name])) for name, _ in tested] == tested
