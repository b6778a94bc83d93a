"""Mutants are put into imported modules as if these had been imported with the change."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = """
LIMIT = 3
TWICE = 2 * LIMIT

def is_small(number, least=1):
    return least <= number < TWICE

def adder(amount):
    def add(number):
        return number + amount
    return add

class Counter:
    first = 5

    def up(self, by=1):
        return self.first + by
"""


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[ModuleType]:
    """An imported module with the text `SOURCE`."""
    path = tmp_path / "mutated_sample.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("mutated_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mutated_sample"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutated_sample"]


def put(in_place: ModuleType, sample: ModuleType, before: str, after: str) -> None:
    """Changes the module in memory."""
    assert sample.__file__ is not None
    path = Path(sample.__file__)
    functions = in_place.functions_below(path.parent)
    in_place.put(path, SOURCE, SOURCE.replace(before, after), functions)


def test_a_change_in_a_function(in_place: ModuleType, sample: ModuleType) -> None:
    """A function that others have imported already has the change."""
    is_small = sample.is_small
    put(in_place, sample, "number < TWICE", "number <= TWICE")

    assert is_small(6)


def test_a_change_in_an_inner_function(in_place: ModuleType, sample: ModuleType) -> None:
    """Functions that were made before the change have it, too, as those that are made later."""
    add = sample.adder(2)
    put(in_place, sample, "number + amount", "number - amount")

    assert (add(5), sample.adder(1)(5)) == (3, 4)


def test_a_change_of_a_constant(in_place: ModuleType, sample: ModuleType) -> None:
    """A constant changes wherever it was imported, with those that are computed from it."""
    user = sys.modules["mutated_user"] = ModuleType("mutated_user")
    user.__dict__["TWICE"] = sample.TWICE
    put(in_place, sample, "LIMIT = 3", "LIMIT = 1000")
    del sys.modules["mutated_user"]

    assert (sample.TWICE, user.__dict__["TWICE"]) == (2000, 2000)
    assert sample.is_small(1999)


def test_a_change_of_a_default(in_place: ModuleType, sample: ModuleType) -> None:
    """Defaults of functions and methods change."""
    put(in_place, sample, "least=1", "least=2")
    put(in_place, sample, "by=1", "by=2")

    assert not sample.is_small(1)
    assert sample.Counter().up() == 7


def test_what_needs_an_import(in_place: ModuleType, sample: ModuleType) -> None:
    """The body of a class runs only on import, and is left alone."""
    with pytest.raises(in_place.NeedsImport):
        put(in_place, sample, "first = 5", "first = 6")

    assert sample.Counter.first == 5


def test_a_module_that_is_not_imported(
    in_place: ModuleType, sample: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that a test would import from the disk is not taken for changed."""
    monkeypatch.delitem(sys.modules, "mutated_sample")
    with pytest.raises(in_place.NeedsImport):
        put(in_place, sample, "number < TWICE", "number <= TWICE")
    monkeypatch.undo()
