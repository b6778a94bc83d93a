"""How a page says that runs of a local MLflow store are opened."""

from __future__ import annotations

import pytest

from lrtrack.records import ServedPage
from lrtrack.trackers.mlflow.served import served_page

UI = "mlflow ui --backend-store-uri "


@pytest.mark.parametrize(
    ("uri", "argument"),
    [
        ("sqlite:////home/ada/mlflow.db", "sqlite:////home/ada/mlflow.db"),
        ("sqlite+pysqlite:////home/ada/m.db", "sqlite+pysqlite:////home/ada/m.db"),
        ("sqlite:////home/my runs/it's.db", "'sqlite:////home/my runs/it'\"'\"'s.db'"),
        ("sqlite:////home/$(reboot)/`m`.db", "'sqlite:////home/$(reboot)/`m`.db'"),
        ("sqlite:///C:\\Users\\Ada\\mlflow.db", "sqlite:///C:\\Users\\Ada\\mlflow.db"),
        ("sqlite:///C:\\My Runs\\m.db", '"sqlite:///C:\\My Runs\\m.db"'),
        ("sqlite:///d:/a&b/m.db", '"sqlite:///d:/a&b/m.db"'),
        ("file:///home/ada/mlruns", "file:///home/ada/mlruns"),
        ("file:///C:/My%20Runs/mlruns", '"file:///C:/My%20Runs/mlruns"'),
    ],
)
def test_a_local_store_has_a_command_that_serves_it(uri, argument):
    """The store's address is one argument of the command, in the shell of its system."""
    url = "http://127.0.0.1:5000/#/experiments/3/runs/ab?workflowType=machine_learning"

    assert served_page(uri, "3", "ab") == ServedPage(UI + argument, url)


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "https://me:secret@host",
        "postgresql://me:secret@host/mlflow",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:m?mode=memory&uri=true",
        "sqlite:////home/m.db?password=secret",
        "databricks",
        "",
    ],
)
def test_other_stores_have_no_command(uri):
    """A store that has a server, is not on a disk, or needs credentials has no command."""
    assert served_page(uri, "3", "ab") is None
