"""The numbers of situations in README.md and the page about them are those of the tests."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: `| framework | number: what they are | files |` in the page.
ROW = re.compile(r"^\| ([\w -]+) \| (\d+): [^|]* \| ([^|]*) \|$", re.M)
#: `| framework | what you write | extra | situations |` in README.md.
README_ROW = re.compile(r"^\| ([^|]+) \| [^|]* \| [^|]* \| ([\d, ]*)\|$", re.M)


def of_the_page() -> dict[str, tuple[int, list[Path]]]:
    """Returns each framework of the page with its number and the files of its tests."""
    text = (ROOT / "docs/framework_situations.md").read_text("utf-8")
    return {
        name: (int(number), [HERE / file for file in re.findall(r"`([\w/.]+)`", files)])
        for name, number, files in ROW.findall(text)
    }


def test_the_page_counts_the_tests(request: pytest.FixtureRequest) -> None:
    """Each number of the page is that of the tests in its files, as far as they are collected."""
    if any("::" in argument for argument in request.config.args) or request.config.option.keyword:
        pytest.skip("some tests of the files were left out")
    collected = Counter(item.path for item in request.session.items)
    rows = {
        name: (number, sum(collected[file] for file in files))
        for name, (number, files) in of_the_page().items()
        if all(collected[file] for file in files)
    }
    assert of_the_page()
    assert {n: number for n, (number, _) in rows.items()} == {n: c for n, (_, c) in rows.items()}


def test_the_readme_has_the_numbers_of_the_page() -> None:
    """The table of frameworks in README.md has the page's number for each that the page names."""
    page = {name: str(number) for name, (number, _) in of_the_page().items()}
    shown = {}
    for names, numbers in README_ROW.findall((ROOT / "README.md").read_text("utf-8")):
        frameworks = [name.removeprefix("PyTorch ") for name in names.split(", ")]
        shown |= dict(zip(frameworks, numbers.strip().split(", "), strict=False))

    assert {name: number for name, number in shown.items() if number} == page
