"""The modules of the mutation tests, which are programs beside each other and not a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def in_place() -> ModuleType:
    """The module `in_place`."""
    return _beside("in_place")


@pytest.fixture
def results() -> ModuleType:
    """The module `results`."""
    return _beside("results")
