"""Stores of MLflow, read without importing MLflow wherever that is safe.

Importing MLflow takes longer than most reports. A local SQLite database and an HTTP server are
therefore read directly, if everything about them is known; MLflow's client reads all other stores,
and takes over wherever a direct reading fails.

base.py       what a store and its runs are
location.py   the addresses that may be read directly
sqlite.py     a local SQLite database
rest.py       an HTTP server
artifacts.py  where a run's columnar file is
client.py     MLflow's client
fallback.py   a direct reading, and the client where it fails
"""

from __future__ import annotations

from functools import partial

from lrtrack.trackers.mlflow.store import check_reachable, open_existing, require_existing
from lrtrack.trackers.mlflow.stores import location
from lrtrack.trackers.mlflow.stores.base import Store
from lrtrack.trackers.mlflow.stores.fallback import FallbackStore


def open_store(uri: str | None) -> Store:
    """Open a store for reading, without creating a missing one.

    Args:
        uri: without credentials; None: MLflow's default.

    Raises:
        NothingFound: there is no store yet.
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    direct: Store | None = None
    address = location.direct_address(uri)
    if address is not None and address.startswith("sqlite:"):
        from lrtrack.trackers.mlflow.stores.sqlite import SqliteStore

        require_existing(address)
        direct = SqliteStore(address)
    elif address is not None:
        from lrtrack.trackers.mlflow.stores.rest import RestStore, settings_from

        settings = settings_from()
        if settings is not None:
            check_reachable(address)
            direct = RestStore(address, settings)
    if direct is None or address is None:
        return _by_client(uri, uri)
    return FallbackStore(direct, partial(_by_client, address, uri))


def _by_client(address: str | None, uri: str | None) -> Store:
    from lrtrack.trackers.mlflow.stores.client import ClientStore

    return ClientStore(open_existing(address), uri)
