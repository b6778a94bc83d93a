"""The fixture `loopback`.

Tests in other folders get it when `tests/conftest.py` loads this package by its path:

    folder = Path(__file__).parent / "wandb_loopback"
    spec = importlib.util.spec_from_file_location(
        "wandb_loopback", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["wandb_loopback"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    loopback = importlib.import_module("wandb_loopback.plugin").loopback

After that every test can also write `from wandb_loopback import Loopback, clients`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .clients import all_gone
from .server import Loopback


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A W&B server on 127.0.0.1 of the test's own.

    The test fails if the server could not answer something, or if a client outlives it.
    """
    with Loopback() as server:
        yield server
        assert all_gone(server)
    assert server.errors == []
