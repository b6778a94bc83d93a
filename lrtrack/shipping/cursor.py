"""How far one run is delivered to one tracker: a small file beside the journal."""

from __future__ import annotations

import json
import math
import sys
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lrtrack.journal.layout import read_json, write_json

_CHECKSUM = "checksum"
#: The numbers in the state of a `RowBudget`, which need not be imported to read a cursor.
_COUNTS = 4


@dataclass
class Cursor:
    """The state of a delivery, saved after each change that a crash must not undo.

    Attributes:
        offset: bytes of the journal that are delivered.
        skip: delivered rows of the frame that begins at `offset`.
        doubt: a batch was sent whose answer never came.
        doubtful: bytes of the journal that may have been delivered although no cursor says so.
        remote_id: the tracker's run id, once the run is opened there.
        url: the run's page.
        closed: everything is delivered, and the run is ended in the tracker.
        error: why the delivery is stuck at present, without credentials.
        refused: the server refused the credentials; the fix, as far as the refused process could
            tell.
        failures: failed attempts since the last successful one.
        given_up: the tracker refused for good; only `lrtrack sync` or a new shipper tries again.
        damage: which part of the journal could not be read and was not delivered.
        missing: which part of a closed run its tracker does not have, why, and the fix.
        first: the step at which this block begins in the tracker's run, once that is known.
        floor: the time from which on records count, after a return to an earlier step.
        counted: how many rows its charts have, see `RowBudget.state`; None if nobody counts them.
        note: what users should know about the run in the tracker; None if there is nothing.
    """

    offset: int = 0
    skip: int = 0
    doubt: bool = False
    doubtful: int = 0
    remote_id: str | None = None
    url: str | None = None
    closed: bool = False
    error: str | None = None
    refused: str | None = None
    failures: int = 0
    given_up: bool = False
    damage: str | None = None
    missing: str | None = None
    first: int | None = None
    floor: float = 0.0
    counted: list[float] | None = None
    note: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the delivery is stuck at present, with the fix if that is known."""
        return f"{self.error}: {self.refused}" if self.error and self.refused else self.error

    @classmethod
    def load(cls, path: Path) -> Cursor:
        """Loads the saved state, or a new cursor if there is none or it cannot be read.

        If a cursor exists but cannot be read, the tracker is asked what it has.
        """
        data = read_json(path)
        if data is None:
            return cls._lost() if path.exists() else cls()
        if data.pop(_CHECKSUM, None) not in (None, _checksum(data)):  # cursors of 0.1.0 have none
            return cls._lost()
        names = {field.name for field in fields(cls)}
        cursor = cls(**{name: value for name, value in data.items() if name in names})
        return cursor if cursor._makes_sense() else cls._lost()

    @classmethod
    def _lost(cls) -> Cursor:
        return cls(doubt=True, doubtful=sys.maxsize)

    def _makes_sense(self) -> bool:
        counts = (self.offset, self.skip, self.failures, self.doubtful, self.first or 0)
        flags = (self.doubt, self.closed, self.given_up)
        texts = (
            self.remote_id, self.url, self.error, self.refused, self.damage, self.missing,
            self.note,
        )  # fmt: skip
        return (
            all(type(count) is int and count >= 0 for count in counts)
            and _is_number(self.floor)
            and (self.counted is None or _are_counts(self.counted))
            and all(isinstance(flag, bool) for flag in flags)
            and all(text is None or isinstance(text, str) for text in texts)
        )

    def save(self, path: Path) -> None:
        """Writes the state atomically."""
        data = asdict(self)
        write_json(path, {**data, _CHECKSUM: _checksum(data)})


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _COUNTS and all(map(_is_number, value))


def _checksum(data: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())
