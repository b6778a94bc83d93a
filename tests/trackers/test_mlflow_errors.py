"""MLflow's exceptions in lrtrack's words, and how long a server asks a client to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from lrtrack.errors import TrackerError
from lrtrack.trackers.mlflow.errors import retry_after_seconds, translate_errors


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (None, None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, expected: float | None):
    """A `Retry-After` header may hold seconds or a date, and other texts are ignored."""
    assert retry_after_seconds(header) == expected


def test_retry_after_a_date():
    """A future date in `Retry-After` becomes the seconds until then."""
    delay = retry_after_seconds(formatdate(time.time() + 100, usegmt=True))

    assert delay == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("psycopg", "'psycopg[binary]'"),
        ("psycopg2", "psycopg2-binary"),
        ("MySQLdb", "mysqlclient"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("pyodbc", "pyodbc"),
    ],
)
def test_a_missing_driver(module: str, package: str):
    """The package of a database or a cloud that is missing is named as pip knows it, and the
    address without its credentials.
    """
    text = f"No module named {module!r}"
    with pytest.raises(TrackerError) as raised, translate_errors("db://me:hunter2@h/runs"):
        raise ModuleNotFoundError(text, name=module)

    assert str(raised.value) == (
        f"MLflow at db://h/runs needs a package that is not installed here ({text}). "
        f"Fix: pip install {package}"
    )
