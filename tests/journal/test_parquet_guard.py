"""Files whose footer understates what their pages expand to."""

from __future__ import annotations

import inspect
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lrtrack.journal import history_table, parquet_guard

#: One page of 2 MiB a column, and the size that the footer declares instead.
ROWS, DECLARED_ROWS, DECLARED_BYTES = 2**18, 1000, 9000


def varint(number: int, width: int = 1) -> bytes:
    """Returns a number in Thrift's compact protocol, padded to at least `width` bytes."""
    zigzag, digits = number << 1, bytearray()
    while zigzag or len(digits) < width:
        digits.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    digits[-1] &= 0x7F
    return bytes(digits)


def understate(content: bytes, number: int, declared: int) -> bytes:
    """Replaces a number in a file by a smaller one of the same encoded length."""
    before = varint(number)
    assert before in content
    return content.replace(before, varint(declared, len(before)))


@pytest.fixture
def understated(tmp_path: Path) -> Path:
    """A file whose footer and page headers declare 1000 rows, with pages of 2 MiB."""
    path = tmp_path / "history.parquet"
    zeros = np.zeros(ROWS)
    options = {"max_rows_per_page": ROWS}  # Newer versions of pyarrow end a page earlier.
    known = inspect.signature(pq.write_table).parameters
    pq.write_table(
        pa.table({"step": zeros.astype(np.int64), "time": zeros, "loss": zeros}),
        path,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=2**30,
        **{name: value for name, value in options.items() if name in known},
    )
    group = pq.read_metadata(path).row_group(0)
    sizes = {group.column(index).total_uncompressed_size for index in range(3)}
    content = understate(path.read_bytes(), ROWS, DECLARED_ROWS)
    content = understate(content, group.total_byte_size, 3 * DECLARED_BYTES)
    for size in sizes:
        content = understate(content, size, DECLARED_BYTES)
    path.write_bytes(content)
    return path


def test_pyarrow_does_not_notice(understated: Path):
    """The metadata of pyarrow look valid, and pyarrow reads the file."""
    metadata = pq.read_metadata(understated)
    column = metadata.row_group(0).column(2)

    assert (metadata.num_rows, column.num_values) == (DECLARED_ROWS, DECLARED_ROWS)
    assert column.total_uncompressed_size == DECLARED_BYTES
    assert pq.read_table(understated).num_rows == DECLARED_ROWS


def test_an_understated_page_is_refused(understated: Path, monkeypatch: pytest.MonkeyPatch):
    """A page that is larger than allowed is found by its own header."""
    monkeypatch.setattr(parquet_guard, "MAX_PAGE", 2**20)

    with pytest.raises(ValueError, match=r"a page expands to 2\.1 MB"):
        history_table.read_parquet(understated)


def footer(*groups: int, columns: int, rows: int | None = None) -> SimpleNamespace:
    """The footer of a file with row groups of some sizes, whose columns nobody looks at."""
    return SimpleNamespace(
        num_row_groups=len(groups),
        num_columns=columns,
        num_rows=sum(groups) if rows is None else rows,
        row_group=lambda index: SimpleNamespace(num_rows=groups[index], num_columns=0),
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (footer(2**24, 2**24, columns=1), None),
        (footer(2**25, columns=1, rows=2**25 + 1), "its footer contradicts itself"),
        (footer(5, -1, columns=1), "its footer contradicts itself"),
        # 256 MiB and a thousand times the file's 1,000 bytes
        (footer((2**28 + 10**6) // 8, columns=1), None),
        (footer((2**28 + 10**6) // 8 + 1, columns=1), "its 1,000 bytes expand to 33.7 M values"),
        (footer(1, columns=(2**28 + 10**6) // 8 + 1), "its 1,000 bytes expand to 33.7 M values"),
    ],
)
def test_how_many_values_a_footer_may_declare(
    tmp_path: Path, metadata: SimpleNamespace, message: str | None
) -> None:
    """A small file may expand to 256 MiB and to a thousand times its size, and to no more."""
    path = tmp_path / "history.parquet"
    path.write_bytes(bytes(1000))
    if message is None:
        parquet_guard.check(path, metadata)
    else:
        with pytest.raises(ValueError, match=message):
            parquet_guard.check(path, metadata)


def test_how_many_values_any_file_may_hold(tmp_path: Path) -> None:
    """No file may hold more than 2²⁸ values, however large it is."""
    path = tmp_path / "history.parquet"
    with path.open("wb") as file:
        file.truncate(2**31)  # takes no room on the disk
    parquet_guard.check(path, footer(2**26, columns=4))

    with pytest.raises(ValueError, match=r"2\.15 GB expand to 268 M values"):
        parquet_guard.check(path, footer(2**26 + 1, columns=4))


def thrift(content: bytes) -> tuple[dict[int, int], int]:
    """The integers of a struct by field id, and how many bytes it took."""
    reader = parquet_guard._Thrift(content + b"rest")
    return reader.struct(), reader.position


@pytest.mark.parametrize(
    ("content", "integers"),
    [
        (b"\x00", {}),
        (b"\x15\x02\x15\x03\x00", {1: 1, 2: -2}),
        (b"\x15\x80\x01\x35\xfe\x01\x00", {1: 64, 4: 127}),
        (b"\x05\x22\x0e\x00", {17: 7}),  # a field id of its own
        (b"\x11\x12\x15\x02\x00", {3: 1}),  # two booleans, which have no value
        (b"\x13\x07\x15\x02\x00", {2: 1}),  # a byte
        (b"\x17" + bytes(8) + b"\x15\x02\x00", {2: 1}),  # a double
        (b"\x18\x03abc\x15\x02\x00", {2: 1}),  # three bytes
        (b"\x19\x25\x02\x04\x15\x02\x00", {2: 1}),  # a list of two integers
        (b"\x1a\x21\x01\x02\x15\x02\x00", {2: 1}),  # a set of two booleans
        (b"\x19\xf5\x0f" + b"\x02" * 15 + b"\x15\x02\x00", {2: 1}),  # a list of fifteen
        (b"\x1c\x15\x06\x00\x15\x02\x00", {2: 1}),  # a struct, whose fields are its own
    ],
)
def test_page_headers_are_read(content: bytes, integers: dict[int, int]) -> None:
    """Every type of Thrift's compact protocol is read or skipped, to its last byte."""
    assert thrift(content) == (integers, len(content))


@pytest.mark.parametrize("content", [b"", b"\x15", b"\x15\x80", b"\x18\x04abc", b"\x1d", b"\x17"])
def test_a_page_header_that_ends_too_early(content: bytes) -> None:
    """A header that is cut off, or has an unknown type, is an error and never an endless loop."""
    with pytest.raises(IndexError):
        parquet_guard._Thrift(content).struct()


def page(uncompressed: int, compressed: int) -> bytes:
    """The header of a page, with numbers between -64 and 63."""
    numbers = (0, uncompressed, compressed)
    return b"".join(b"\x15" + bytes([2 * n if n >= 0 else -2 * n - 1]) for n in numbers) + b"\x00"


def page_sizes(file: bytes, begin: int, size: int, **chunk: int | None) -> list[int]:
    """The sizes of the pages of a column chunk of a file."""
    declared = {"dictionary_page_offset": None, "num_values": 1, **chunk}
    about = SimpleNamespace(data_page_offset=begin, total_compressed_size=size, **declared)
    return list(parquet_guard._page_sizes(BytesIO(file), about))


def test_pages_are_found_one_after_the_other() -> None:
    """Each header says where the next page begins, up to the end of the column chunk."""
    file = b"PAR1" + page(40, 3) + b"abc" + page(50, 0) + page(60, 5) + b"abcde" + page(9, 0)

    assert page_sizes(file, 4, 29) == [40, 50, 60]
    assert page_sizes(file, 4, 30) == [40, 50, 60, 9]
    assert page_sizes(file, 14, 17, dictionary_page_offset=4) == [40, 50]
    assert page_sizes(file, 14, 17, dictionary_page_offset=14) == [50, 60]
    assert page_sizes(file, 14, 17, dictionary_page_offset=0) == [50, 60]
    assert page_sizes(file, 4, 28, num_values=0) == []


@pytest.mark.parametrize(
    ("file", "begin", "message"),
    [
        (page(1, -1), 0, "a page header without sizes"),
        (b"\x15\x00\x15\x02\x00", 0, "a page header without sizes"),
        (b"\x15\x00\x25\x02\x00", 0, "a page header without sizes"),
        (b"\x15\x00\x15", 0, "a page without a readable header"),
        (page(1, 0), -1, "a page before the beginning of the file"),
    ],
)
def test_pages_that_cannot_be_read(file: bytes, begin: int, message: str) -> None:
    """A page without sizes, or outside of the file, is refused."""
    with pytest.raises(ValueError, match=message):
        page_sizes(file, begin, 5)


@pytest.mark.parametrize(
    ("size", "allowed"), [(0, True), (2**26, True), (2**26 + 1, False), (-1, False)]
)
def test_how_large_a_page_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, allowed: bool
) -> None:
    """A page may expand to 64 MiB."""
    path = tmp_path / "history.parquet"
    path.write_bytes(bytes(1000))
    chunk = SimpleNamespace(num_values=1)
    group = SimpleNamespace(num_rows=1, num_columns=1, column=lambda index: chunk)
    metadata = footer(1, columns=1)
    metadata.row_group = lambda index: group
    monkeypatch.setattr(parquet_guard, "_page_sizes", lambda file, chunk: [1, size])
    if allowed:
        parquet_guard.check(path, metadata)
        return
    with pytest.raises(ValueError, match="a page expands to"):
        parquet_guard.check(path, metadata)


def test_a_column_of_another_length(tmp_path: Path) -> None:
    """A column chunk has as many values as its row group has rows."""
    path = tmp_path / "history.parquet"
    path.write_bytes(bytes(1000))
    for length in (0, 2):
        chunk = SimpleNamespace(num_values=length)
        group = SimpleNamespace(num_rows=1, num_columns=1, column=lambda index, chunk=chunk: chunk)
        metadata = footer(1, columns=1)
        metadata.row_group = lambda index, group=group: group
        with pytest.raises(ValueError, match="its footer contradicts itself"):
            parquet_guard.check(path, metadata)
