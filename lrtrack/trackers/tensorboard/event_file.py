"""The records of an event file: a length and its checksum, the record and its checksum.

The format is that of TensorFlow's record files. tensorboard's own reader computes the checksums
byte by byte in Python, which takes ten times as long as everything else; here they are computed for
many records at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

#: Larger records are pictures, graphs or other data that reports do not use; they are skipped.
LARGEST = 2**16
#: Records that are checked together.
_TOGETHER = 4096
#: From this number of records of one length on, NumPy is faster than a loop over bytes.
_MANY = 32
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_MASK_DELTA = 0xA282EAD8


@dataclass
class EventFile:
    """An event file that is read once.

    Attributes:
        damage: what is wrong at the place where reading stopped; None at a proper end.
        is_torn: whether the file ends inside a record: it is still written, or its writer was
            killed.
    """

    path: Path
    damage: str | None = None
    is_torn: bool = False

    def records(self) -> Iterator[bytes]:
        """The records up to the first damaged one, without those that are too large."""
        with self.path.open("rb") as file:
            while True:
                batch, sums = self._batch(file)
                good = _first_wrong(batch, sums)
                yield from batch[:good]
                if good < len(batch):
                    self.damage, self.is_torn = "damaged", False
                if self.damage is not None or not batch:
                    return

    def _batch(self, file: BinaryIO) -> tuple[list[bytes], list[int]]:
        """The next records and their checksums, up to the end or a damaged length."""
        records: list[bytes] = []
        sums: list[int] = []
        while len(records) < _TOGETHER:
            header = file.read(_HEADER.size)
            if not header:
                break
            if len(header) < _HEADER.size:
                self.damage, self.is_torn = "cut off", True
                break
            length, checksum = _HEADER.unpack(header)
            if _masked(_crc(header[:8])) != checksum:
                self.damage = "damaged"
                break
            if length > LARGEST:
                if not _skip(file, length + _CHECKSUM.size):
                    self.damage, self.is_torn = "cut off", True
                    break
                continue
            content = file.read(length + _CHECKSUM.size)
            if len(content) < length + _CHECKSUM.size:
                self.damage, self.is_torn = "cut off", True
                break
            records.append(content[:length])
            sums.append(_CHECKSUM.unpack(content[length:])[0])
        return records, sums


def first_record(path: Path) -> bytes | None:
    """The first record of a file; None if it has none."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        length = _HEADER.unpack(header)[0]
        return file.read(length) if length <= LARGEST else None


def _skip(file: BinaryIO, size: int) -> bool:
    """Move `size` bytes on; whether the file has so many."""
    at = file.tell()
    if size > file.seek(0, 2) - at:
        return False
    file.seek(at + size)
    return True


def _first_wrong(records: list[bytes], sums: list[int]) -> int:
    """Index of the first record whose checksum is wrong; their number if none is."""
    by_length: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        by_length.setdefault(len(record), []).append(index)
    wrong = len(records)
    for length, indices in by_length.items():
        if len(indices) < _MANY:
            actual = [_crc(records[index]) for index in indices]
        else:
            joined = b"".join(records[index] for index in indices)
            actual = _crcs(np.frombuffer(joined, np.uint8).reshape(len(indices), length)).tolist()
        bad = (i for i, crc in zip(indices, actual, strict=True) if _masked(crc) != sums[i])
        wrong = min(wrong, next(bad, wrong))
    return wrong


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
_ARRAY = np.array(_TABLE, np.uint32)


def _crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crcs(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The checksum of each row.

    Args:
        rows: shape (n, length).

    Returns:
        Shape (n,).
    """
    crc = np.full(rows.shape[0], 0xFFFFFFFF, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        crc = _ARRAY[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + _MASK_DELTA) & 0xFFFFFFFF
