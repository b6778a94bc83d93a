"""Files whose footer understates what their pages expand to."""

from __future__ import annotations

import inspect
from pathlib import Path

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
