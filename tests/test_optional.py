"""Packages that are imported late: what is said where one is missing or too old."""

from __future__ import annotations

import pytest

from lrtrack._optional import load
from lrtrack.errors import MissingPackage, UsageError


def test_a_missing_package_names_the_extra() -> None:
    """As the `pip install` line that brings it."""
    with pytest.raises(MissingPackage, match=r"pip install 'lrtrack\[sparkle\]'"):
        load("sparkle.core", extra="sparkle")


def test_a_missing_package_is_an_import_error_and_a_usage_error() -> None:
    """For `try: … except ImportError`, and for whoever catches lrtrack's own."""
    with pytest.raises(ImportError) as caught:
        load("sparkle")

    assert isinstance(caught.value, UsageError)


def test_a_release_that_is_too_old_names_those_that_are_supported() -> None:
    """With the line that upgrades it."""
    said = r"click .* is installed, but lrtrack needs 99 or later.*pip install -U 'lrtrack\[x\]'"
    with pytest.raises(MissingPackage, match=said):
        load("click", extra="x", at_least="99")


def test_a_later_release_is_loaded() -> None:
    """Numbers are compared as numbers: 8.10 is later than 8.9."""
    assert load("click", at_least="8").__name__ == "click"
    assert load("pytest", at_least="8.10").__name__ == "pytest"


def test_a_module_that_breaks_while_it_is_imported_says_so_itself(tmp_path, monkeypatch) -> None:
    """What a package lacks is not that package."""
    (tmp_path / "half.py").write_text("import sparkle")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="sparkle"):
        load("half")
