"""How large a Parquet file becomes in memory, found out before any of it is unfolded.

A few kilobytes may say that they hold billions of rows, or pages of gigabytes: compression and
run lengths make that possible, and Arrow takes each size as it is told. So the footer's numbers and
every page's own are looked at first. Strangers' files come this way: whoever may write to a
tracker may put another one in the place of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

#: 2 GiB of values: ten million steps of 26 metrics.
MAX_VALUES = 2**28
#: No honest file unfolds to more than so many times its own size, or than the first so many bytes:
#: the times of its steps alone take some bytes a row.
RATIO, FREE = 1000, 256 * 2**20
#: Arrow cuts its pages at 1 MiB.
MAX_PAGE = 64 * 2**20
#: A page's header has some numbers in it, and the least and the largest value.
_HEADER = 2**14
_VALUE = 8


def check(path: Path, metadata: Any) -> None:
    """See to it that reading the file takes no more memory than a step history may.

    Args:
        metadata: the file's footer, a `pyarrow.parquet.FileMetaData`.

    Raises:
        ValueError: it would, or its pages cannot be told.
    """
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    values = rows * metadata.num_columns
    size = path.stat().st_size
    if rows != metadata.num_rows or any(group.num_rows < 0 for group in groups):
        raise ValueError("its footer contradicts itself")
    if values > MAX_VALUES or values * _VALUE > FREE + RATIO * size:
        raise ValueError(f"{size:,} bytes that unfold to {values:,} values")
    with path.open("rb") as file:
        for group in groups:
            for chunk in (group.column(at) for at in range(group.num_columns)):
                if chunk.num_values != group.num_rows:
                    raise ValueError("its footer contradicts itself")
                for unfolded in _pages(file, chunk):
                    if not 0 <= unfolded <= MAX_PAGE:
                        raise ValueError(f"a page that unfolds to {unfolded:,} bytes")


def _pages(file: BinaryIO, chunk: Any) -> Iterator[int]:
    """The unfolded size of each page of a column chunk, as the page itself says it."""
    begin, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    if dictionary is not None and 0 < dictionary < begin:
        begin = dictionary
    at, end = begin, begin + (chunk.total_compressed_size if chunk.num_values else 0)
    while at < end:
        if at < 0:
            raise ValueError("a page before the file's beginning")
        file.seek(at)
        header = _Thrift(file.read(_HEADER))
        try:
            fields = header.struct()
        except (IndexError, RecursionError):
            raise ValueError("a page without a readable header") from None
        unfolded, folded = fields.get(2), fields.get(3)
        if unfolded is None or folded is None or folded < 0:
            raise ValueError("a page without its sizes")
        yield unfolded
        at += header.at + folded


class _Thrift:
    """Thrift's compact protocol, as far as a page's header uses it.

    Raises:
        IndexError: it goes on beyond the bytes given.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self) -> dict[int, int]:
        """Read a struct; its whole numbers by their field's id."""
        found: dict[int, int] = {}
        field = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0x0F
            field = field + delta if delta else self._number()
            value = self._value(kind)
            if kind in (4, 5, 6):
                found[field] = value
        return found

    def _value(self, kind: int) -> int:
        if kind in (4, 5, 6):
            return self._number()
        if kind == 3:
            return self._byte()
        if kind == 7:
            self._skip(8)
        elif kind == 8:
            self._skip(self._varint())
        elif kind in (9, 10):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                self._byte() if head & 0x0F in (1, 2) else self._value(head & 0x0F)
        elif kind == 12:
            self.struct()
        elif kind not in (1, 2):  # a truth value stands in the kind itself
            raise IndexError
        return 0

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        folded = self._varint()
        return folded >> 1 ^ -(folded & 1)
