"""How far one run is delivered to one tracker: a small file beside the journal."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lrtrack.journal.layout import read_json, write_json


@dataclass
class Cursor:
    """Delivery state; saved after each change that a crash must not undo.

    Attributes:
        offset: bytes of the journal that are delivered.
        skip: rows delivered of the frame that begins at `offset`.
        doubt: a batch was sent whose answer was never seen.
        doubtful: bytes of the journal that may have been delivered though no cursor says so.
        remote_id: the tracker's run id, once the run is opened there.
        url: where people look at the run.
        closed: everything is delivered and the run is ended in the tracker.
        error: why delivery does not go on at present, without credentials.
        refused: the server refused the credentials; what to do about it, as far as the process
            that was refused could say.
        failures: attempts that came to nothing, since the last one that did not.
        given_up: the tracker refused for good; only `lrtrack sync` or a new shipper tries again.
        damage: what of the journal could not be read, and so was not delivered.
        missing: which part of a closed run its tracker does not have, why, and how to fix that.
        first: the step at which this block begins in the tracker's run, once that is known.
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

    @property
    def trouble(self) -> str | None:
        """Why delivery does not go on at present, with what to do if that is known."""
        return f"{self.error}: {self.refused}" if self.error and self.refused else self.error

    @classmethod
    def load(cls, path: Path) -> Cursor:
        """The saved state; a fresh cursor where there is none that can be read.

        A cursor that was there and cannot be read is a doubt: the tracker is asked what it has.
        """
        data = read_json(path)
        if data is None:
            return cls._lost() if path.exists() else cls()
        known = {field.name for field in fields(cls)}
        cursor = cls(**{name: value for name, value in data.items() if name in known})
        return cursor if cursor._makes_sense() else cls._lost()

    @classmethod
    def _lost(cls) -> Cursor:
        return cls(doubt=True, doubtful=sys.maxsize)

    def _makes_sense(self) -> bool:
        counts = (self.offset, self.skip, self.failures, self.doubtful, self.first or 0)
        flags = (self.doubt, self.closed, self.given_up)
        texts = (
            self.remote_id, self.url, self.error, self.refused, self.damage, self.missing,
        )  # fmt: skip
        return (
            all(type(count) is int and count >= 0 for count in counts)
            and all(isinstance(flag, bool) for flag in flags)
            and all(text is None or isinstance(text, str) for text in texts)
        )

    def save(self, path: Path) -> None:
        """Write the state in one step."""
        write_json(path, asdict(self))
