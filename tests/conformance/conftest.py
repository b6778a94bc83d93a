"""Delivers all cases at once, because W&B needs a process and two seconds for each run.

Every file `*_cases.py` of this folder is a family of cases and is imported here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from wandb_loopback import Loopback
from wandb_loopback.clients import all_gone

from .cases import TRACKERS
from .delivered import Delivered, chosen

for _file in sorted(Path(__file__).parent.glob("*_cases.py")):
    importlib.import_module(f"{__package__}.{_file.stem}")


@pytest.fixture(scope="session")
def delivered(
    request: pytest.FixtureRequest, long_place: Callable[[], Any], mlflow_database: Path
) -> Delivered:
    """Every case that a test needs, trained and delivered to both trackers."""
    results = Delivered()
    # Spawned workers start it and it outlives them, so it must not count as a client of W&B.
    resource_tracker.ensure_running()
    with long_place() as place, Loopback() as server, pytest.MonkeyPatch.context() as patch:
        database = place / "mlflow.db"
        database.write_bytes(mlflow_database.read_bytes())
        store = f"sqlite:///{database}"
        for name, value in server.environment(MLFLOW_TRACKING_URI=store).items():
            patch.setenv(name, value)
        patch.setenv("LRTRACK_TRACKER", ",".join(TRACKERS))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place / "inductor"))
        for case in chosen(request.session.items):
            if not case.missing:
                results.run(case)
        results.deliver()
        results.ask(store, server)
        assert all_gone(server)
        assert server.errors == []
    return results
