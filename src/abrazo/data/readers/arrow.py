"""Parquet and Arrow files, validated in full, because wrong offsets in them crash a process."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from abrazo.data.features import plain_table
from abrazo.data.readers.source import check_file, expansion_budget, too_large
from abrazo.errors import DataError

_PARQUET_MARK = b"PAR1"
_ARROW_MARK = b"ARROW1"
_BATCH_ROWS = 65_536
_FAILURES = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError)


def read_parquet(path: str | Path, *, max_decompressed_bytes: int | None = None) -> pa.Table:
    """Return a Parquet file as a table.

    Raises:
        DataError: The file is damaged, empty, or grows beyond the budget.
    """
    file, name = check_file(path), str(path)
    size = file.stat().st_size
    budget = expansion_budget(size, max_decompressed_bytes)
    _check_parquet_marks(file, name, size)
    try:
        with pq.ParquetFile(
            file,
            page_checksum_verification=True,
            thrift_string_size_limit=64 * 2**20,
            thrift_container_size_limit=2**20,
        ) as parquet:
            _check_declared_size(parquet.metadata, name, budget)
            schema = parquet.schema_arrow
            plain_table(schema.empty_table(), name)  # before data, as deep types crash
            batches = _collected(parquet.iter_batches(_BATCH_ROWS), name, budget)
        table = pa.Table.from_batches(batches, schema=schema)
    except _FAILURES as error:
        raise _damaged(name, "Parquet", error) from error
    return _checked(table, name)


def read_arrow(path: str | Path, *, max_decompressed_bytes: int | None = None) -> pa.Table:
    """Return an Arrow file or stream as a table that stays on disk where it can.

    Raises:
        DataError: The file is damaged, empty, or grows beyond the budget.
    """
    file, name = check_file(path), str(path)
    size = file.stat().st_size
    if not size:
        raise DataError(f"{name}: the file is empty.")
    try:
        mapped = pa.memory_map(str(file))
        is_file = mapped.read(len(_ARROW_MARK)) == _ARROW_MARK
        mapped.seek(0)
        batches, schema = _arrow_batches(mapped, is_file=is_file)
        plain_table(schema.empty_table(), name)
        budget = expansion_budget(size, max_decompressed_bytes)
        table = pa.Table.from_batches(_collected(batches, name, budget), schema=schema)
    except _FAILURES as error:
        raise _damaged(name, "Arrow", error) from error
    return _checked(table, name)


def _arrow_batches(
    mapped: pa.MemoryMappedFile, *, is_file: bool
) -> tuple[Iterable[pa.RecordBatch], pa.Schema]:
    if not is_file:
        stream = pa.ipc.open_stream(mapped)
        return stream, stream.schema
    reader = pa.ipc.open_file(mapped)
    numbers = range(reader.num_record_batches)
    return (reader.get_batch(number) for number in numbers), reader.schema


def _collected(batches: Iterable[pa.RecordBatch], name: str, budget: int) -> list[pa.RecordBatch]:
    """Return the batches, each validated in full, as long as they stay within the budget."""
    found: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        batch.validate(full=True)
        size += batch.nbytes
        if size > budget:
            raise too_large(name, budget)
        found.append(batch)
    return found


def _check_parquet_marks(file: Path, name: str, size: int) -> None:
    """Check the eight bytes at the end: the footer's length and the mark."""
    with file.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
    footer = int.from_bytes(tail[:4], "little")
    if not size:
        raise DataError(f"{name}: the file is empty.")
    if head != _PARQUET_MARK or tail[4:] != _PARQUET_MARK:
        raise DataError(f"{name}: this is not a Parquet file, or it is cut off; copy it once more.")
    if footer + 12 > size:
        raise DataError(
            f"{name}: the Parquet file is damaged: its footer claims {footer:,} bytes of {size:,}."
        )


def _check_declared_size(metadata: pq.FileMetaData, name: str, budget: int) -> None:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    if sum(max(0, group.total_byte_size) for group in groups) > budget:
        raise too_large(name, budget)


def _checked(table: pa.Table, name: str) -> pa.Table:
    if not table.num_rows:
        raise DataError(f"{name}: the file holds no rows.")
    return plain_table(table, name)


def _damaged(name: str, kind: str, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    first_line = str(error).partition("\n")[0]
    return DataError(f"{name}: the {kind} file is damaged or of another kind: {first_line}")
