"""Waiting for an upload, with a bar on standard error where that is a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from lrtrack.shipping import progress
from lrtrack.shipping.cursor import Cursor


class Vanished(io.StringIO):
    """A terminal whose connection is lost."""

    def isatty(self) -> bool:
        """Still looks like a terminal."""
        return True

    def write(self, text: str) -> int:
        """Fails as a terminal does that is gone."""
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        """Fails as well."""
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("stream", [None, Vanished()], ids=["closed", "vanished"])
def test_a_wait_whose_bar_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch, stream) -> None:
    """An upload is waited for to its end where standard error is closed or its terminal is gone."""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(sys, "stderr", stream)
    offsets = iter([0, 5, 10])
    states = lambda: [Cursor(offset=next(offsets))]  # noqa: E731

    assert progress.wait(states, lambda cursor: cursor.offset >= 10, 10, 60.0) is True
