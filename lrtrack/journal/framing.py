"""The bytes of a journal: Arrow IPC streams and JSON events, each in a checksummed frame.

A bare Arrow IPC stream has no checksum and one schema for its whole life, while a run's metrics
come and go, and a killed process or a bad disk leaves half messages. So the file is a line that
names the format, then frames: magic, kind, payload length and CRC-32 (little-endian), then the
payload. A rows payload is a complete Arrow IPC stream. A reader that meets a bad frame continues at
the next magic, so one flipped bit costs one frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

FORMAT = 1
PREAMBLE = b"lrtrack journal %d\n" % FORMAT
MAGIC = b"\xabLRJ"
_HEAD = struct.Struct("<4sBII")
HEAD = _HEAD.size
#: No real frame is larger: the writer splits its rows long before.
MAX_PAYLOAD = 256 * 2**20
#: How often the bytes of one reading may be summed up for frames whose checksum is wrong. Damaged
#: frames follow each other, which takes one reading; only a made-up file has frames within frames.
_WASTE = 4


class Kind(Enum):
    """What a frame holds."""

    EVENT = 1
    ROWS = 2


_KINDS = tuple(kind.value for kind in Kind)


@dataclass(frozen=True)
class Frame:
    """A complete frame; `start` and `end` are byte offsets in the file."""

    kind: Kind
    payload: bytes
    start: int
    end: int


def encode(kind: Kind, payload: bytes) -> bytes:
    """Wraps `payload` in a frame."""
    return _HEAD.pack(MAGIC, kind.value, len(payload), _crc(kind.value, payload)) + payload


def decode(data: bytes, base: int = 0) -> Iterator[Frame]:
    """Yields complete frames in `data`, whose first byte is at offset `base` of the file.

    Bad frames are skipped; half a frame at the end ends the iteration. The time is linear in the
    size of `data`: where too many claimed frames overlap, they are passed over as a whole.
    """
    at, left = 0, _WASTE * len(data)
    while True:
        at = data.find(MAGIC, at)
        if at < 0:
            return
        claim = _claim(data, at)
        if claim is None:
            at += 1
            continue
        kind, crc, end = claim
        payload = memoryview(data)[at + _HEAD.size : end]
        if _crc(kind, payload) == crc:
            yield Frame(Kind(kind), bytes(payload), base + at, base + end)
            at = end
            continue
        left -= end - at
        at = end if left < 0 else at + 1


def cut_off(head: bytes, left: int) -> bool:
    """Returns whether `left` bytes that begin with `head` are a frame whose end was never written.

    A killed writer leaves such a frame; anything else that is no frame is damage.
    """
    if left < _HEAD.size:
        return head[:left].startswith(MAGIC) or MAGIC.startswith(head[:left])
    magic, kind, length, _ = _HEAD.unpack_from(head)
    plausible = magic == MAGIC and kind in _KINDS and length <= MAX_PAYLOAD
    return plausible and _HEAD.size + length > left


def _claim(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Returns kind, checksum and end of the frame that begins at `at`; None if none can."""
    if at + _HEAD.size > len(data):
        return None
    _, kind, length, crc = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    is_possible = kind in _KINDS and length <= MAX_PAYLOAD and end <= len(data)
    return (kind, crc, end) if is_possible else None


def _crc(kind: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, kind)
