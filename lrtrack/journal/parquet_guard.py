"""A bound on the memory that a Parquet file takes, checked before any of it is decompressed.

Anyone who can write to a tracker can replace a run's `history.parquet` by another file. A few
kilobytes can expand to gigabytes through compression and run lengths, and Arrow allocates whatever
size a page declares. So this module checks the footer's counts and the size in every page header.

The footer alone, which is all that pyarrow exposes, is not enough: Arrow does not compare its sizes
with those of the pages. Measured with pyarrow 25 on a file of 13 kB whose footer declares 1000 rows
and 9 kB of uncompressed data: with pages that really expand to 128 MiB, reading it allocates
256 MiB; with page headers that declare 2 GiB, it allocates 4 GiB. pyarrow has no access to page
headers and no limit on a memory pool. Therefore the page headers are read here, with as much of
Thrift's compact protocol as they use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lrtrack.number_text import amount, file_size

#: 2 GiB of values: ten million steps of 26 metrics.
MAX_VALUES = 2**28
#: A step history expands to at most RATIO times the file's size, or to FREE bytes if that is more:
#: the times of the steps alone take a byte or two a row.
RATIO, FREE = 1000, 256 * 2**20
#: Arrow ends a page at 1 MiB when it writes one.
MAX_PAGE = 64 * 2**20
#: The most bytes of a page header: a few integers, and the smallest and the largest value.
_MAX_HEADER = 2**14
_VALUE_BYTES = 8

# Types and field ids of Thrift's compact protocol, as in parquet.thrift.
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY = (1, 2), 3, (4, 5, 6), 7, 8
_LISTS, _STRUCT = (9, 10), 12
_UNCOMPRESSED_SIZE, _COMPRESSED_SIZE = 2, 3


def check(path: Path, metadata: Any) -> None:
    """Refuse a file that would take more memory than a step history may.

    Args:
        path: the file.
        metadata: its footer, a `pyarrow.parquet.FileMetaData`.

    Raises:
        ValueError: it would take too much, or its page headers cannot be read.
    """
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    values = rows * metadata.num_columns
    size = path.stat().st_size
    if rows != metadata.num_rows or any(group.num_rows < 0 for group in groups):
        raise ValueError("its footer contradicts itself")
    if values > MAX_VALUES or values * _VALUE_BYTES > FREE + RATIO * size:
        raise ValueError(
            f"its {file_size(size)} expand to {amount(values)} values, which is too many"
        )
    with path.open("rb") as file:
        for group in groups:
            for chunk in (group.column(index) for index in range(group.num_columns)):
                if chunk.num_values != group.num_rows:
                    raise ValueError("its footer contradicts itself")
                for page_size in _page_sizes(file, chunk):
                    if not 0 <= page_size <= MAX_PAGE:
                        raise ValueError(
                            f"a page expands to {file_size(page_size)}, which is too much"
                        )


def _page_sizes(file: BinaryIO, chunk: Any) -> Iterator[int]:
    """The uncompressed size of each page of a column chunk, in bytes, as its header declares it."""
    begin, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    if dictionary is not None and 0 < dictionary < begin:
        begin = dictionary
    offset, end = begin, begin + (chunk.total_compressed_size if chunk.num_values else 0)
    while offset < end:
        if offset < 0:
            raise ValueError("a page before the beginning of the file")
        file.seek(offset)
        header = _Thrift(file.read(_MAX_HEADER))
        try:
            integers = header.struct()
        except (IndexError, RecursionError):
            raise ValueError("a page without a readable header") from None
        uncompressed = integers.get(_UNCOMPRESSED_SIZE)
        compressed = integers.get(_COMPRESSED_SIZE)
        if uncompressed is None or compressed is None or compressed < 0:
            raise ValueError("a page header without sizes")
        yield uncompressed
        offset += header.position + compressed


class _Thrift:
    """Reads Thrift's compact protocol, as much of it as page headers use.

    Raises:
        IndexError: the data ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self) -> dict[int, int]:
        """Read a struct and return its integers by field id."""
        integers: dict[int, int] = {}
        field = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0x0F
            field = field + delta if delta else self._integer()
            value = self._value(kind)
            if kind in _INTEGERS:
                integers[field] = value
        return integers

    def _value(self, kind: int) -> int:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            self._skip(8)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in _LISTS:
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                self._byte() if head & 0x0F in _BOOLEANS else self._value(head & 0x0F)
        elif kind == _STRUCT:
            self.struct()
        elif kind not in _BOOLEANS:  # a boolean field has its value in the type
            raise IndexError
        return 0

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        zigzag = self._varint()
        return zigzag >> 1 ^ -(zigzag & 1)
