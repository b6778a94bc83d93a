"""How the rows of a run are stored in a Parquet file, whoever writes it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def options_for(schema: pa.Schema) -> dict[str, Any]:
    """Returns pyarrow's options for writing these columns: integers, and float64 numbers."""
    return {
        "compression": "zstd",
        # Few values repeat: a dictionary takes longer to write and read than the values.
        "use_dictionary": False,
        "column_encoding": {
            field.name: "DELTA_BINARY_PACKED" if pa.types.is_integer(field.type)
            # The exponents of a metric's values are alike, so that they compress best side by side.
            else "BYTE_STREAM_SPLIT"
            for field in schema
        },
        # Neither Parquet nor its compression would notice a flipped bit otherwise.
        "write_page_checksum": True,
    }  # fmt: skip
