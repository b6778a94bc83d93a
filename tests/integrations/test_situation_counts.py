"""The numbers of situations in README.md and the page about them are those of the tests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: `| framework | number: what they are; another number of others | files |` on the page.
ROW = re.compile(r"^\| ([\w -]+) \| (\d[^|]*) \| (`with_[^|]*) \|$", re.M)
NUMBER = re.compile(r"(?:^|; )(\d+)")
#: `| framework | what you write | extra | numbers |` in README.md.
README_ROW = re.compile(r"^\| ([^|]+) \| [^|]* \| [^|]*\| ([\d, ]*)\|$", re.M)


def files_of(cell: str) -> Iterator[Path]:
    """Yields the files of a row; a name without a folder is in that of the file before."""
    folder = HERE
    for name in re.findall(r"`([\w/.]+)`", cell):
        path = HERE / name if "/" in name else folder / name
        folder = path.parent
        yield path


def of_the_page() -> dict[str, tuple[int, list[Path]]]:
    """Returns each framework of the page with its number and the files of its tests."""
    text = (ROOT / "docs/framework_situations.md").read_text("utf-8")
    return {
        name: (sum(map(int, NUMBER.findall(situations))), list(files_of(files)))
        for name, situations, files in ROW.findall(text)
    }


def test_the_page_counts_the_tests(request: pytest.FixtureRequest) -> None:
    """Each number of the page is that of the tests in its files, where all were collected."""
    if any("::" in argument for argument in request.config.args) or request.config.option.keyword:
        pytest.skip("some tests of the files were left out")
    collected = Counter(item.path for item in request.session.items)
    page = {
        name: (number, sum(collected[file] for file in files))
        for name, (number, files) in of_the_page().items()
        if all(collected[file] for file in files)
    }
    expected = {name: number for name, (number, _) in page.items()}

    assert len(of_the_page()) >= 7
    assert expected == {name: count for name, (_, count) in page.items()}


def test_the_readme_has_the_numbers_of_the_page() -> None:
    """Each framework in the table of README.md has the number that the page has for it."""
    page = {name: str(number) for name, (number, _) in of_the_page().items()}
    shown = {}
    for names, numbers in README_ROW.findall((ROOT / "README.md").read_text("utf-8")):
        frameworks = [name.removeprefix("PyTorch ") for name in names.split(", ")]
        shown |= dict(zip(frameworks, numbers.strip().split(", "), strict=False))

    assert len(shown) >= 7
    assert shown == {name: page.get(name, "") for name in shown}
