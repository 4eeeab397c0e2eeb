"""The table of file formats, and reading files of any of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from abrazo.config import Config
from abrazo.data.readers.arrow import read_arrow, read_parquet
from abrazo.data.readers.delimited import infer_types, read_delimited
from abrazo.data.readers.json import read_json
from abrazo.data.readers.source import Source, read_source
from abrazo.data.readers.text import read_text
from abrazo.errors import ConfigError, DataError, one_of


@dataclass(frozen=True, kw_only=True)
class ReadOptions(Config):
    """How to read files; what a format has no use for is ignored."""

    encoding: str | None = None
    """Encoding of text files; by default UTF-8, or what the byte order mark says."""
    delimiter: str | None = None
    """Character between the cells of a CSV or TSV file."""
    infer_types: bool = True
    """Whether columns of numbers in CSV and TSV files become numbers; else all is text."""
    field: str | None = None
    """Key of the list of rows, when a JSON file is one object."""
    max_decompressed_bytes: int | None = None
    """The most a compressed file may grow to; by default 100 times its size, at least 256 MiB."""


@dataclass(frozen=True)
class Part:
    """What one file holds."""

    name: str
    """The file, as errors name it."""
    table: pa.Table
    """Its rows, all of them."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    suffixes: tuple[str, ...]
    """Suffixes of its files."""
    read: Callable[[str | Path, ReadOptions], pa.Table]
    """Reads one file."""
    is_text: bool = True
    """Whether it may be compressed by gzip, or come from the standard input."""
    is_untyped: bool = False
    """Whether all columns are read as text, and get their types over all files."""


def _read_csv(path: str | Path, options: ReadOptions) -> pa.Table:
    return _read_delimited(path, options, ",")


def _read_tsv(path: str | Path, options: ReadOptions) -> pa.Table:
    return _read_delimited(path, options, "\t")


def _read_delimited(path: str | Path, options: ReadOptions, usual: str) -> pa.Table:
    source = _source(path, options)
    return read_delimited(source, options.encoding, usual=usual, delimiter=options.delimiter)


def _read_json(path: str | Path, options: ReadOptions) -> pa.Table:
    is_lines = Path(str(path).removesuffix(".gz")).suffix.lower() in (".jsonl", ".ndjson")
    source = _source(path, options)
    return read_json(source, options.encoding, field=options.field, is_lines=is_lines)


def _read_json_lines(path: str | Path, options: ReadOptions) -> pa.Table:
    return read_json(_source(path, options), options.encoding, is_lines=True)


def _read_text(path: str | Path, options: ReadOptions) -> pa.Table:
    return read_text(_source(path, options), options.encoding)


def _read_parquet(path: str | Path, options: ReadOptions) -> pa.Table:
    return read_parquet(path, max_decompressed_bytes=options.max_decompressed_bytes)


def _read_arrow(path: str | Path, options: ReadOptions) -> pa.Table:
    return read_arrow(path, max_decompressed_bytes=options.max_decompressed_bytes)


FORMATS: Mapping[str, Format] = {
    "csv": Format((".csv",), _read_csv, is_untyped=True),
    "tsv": Format((".tsv", ".tab"), _read_tsv, is_untyped=True),
    "json": Format((".json",), _read_json),
    "jsonl": Format((".jsonl", ".ndjson"), _read_json_lines),
    "text": Format((".txt", ".text"), _read_text),
    "parquet": Format((".parquet",), _read_parquet, is_text=False),
    "arrow": Format((".arrow",), _read_arrow, is_text=False),
}


def format_of(path: str | Path) -> str:
    """Return the format that a file's name shows by its suffix.

    Raises:
        DataError: It shows none.
    """
    name = str(path).lower()
    for format_name, kind in FORMATS.items():
        plain = name.removesuffix(".gz") if kind.is_text else name
        if plain.endswith(kind.suffixes):
            return format_name
    suffixes = ", ".join(suffix for kind in FORMATS.values() for suffix in kind.suffixes)
    raise DataError(
        f"The name `{path}` does not show the file's format. Known suffixes are {suffixes} "
        f"(text ones also with .gz); or give the format, one of {', '.join(FORMATS)}."
    )


def read_files(
    paths: Sequence[str | Path], format: str | None = None, options: ReadOptions | None = None
) -> list[Part]:
    """Read files; columns of CSV and TSV files get one type over all of them.

    Args:
        paths: The files; `-` is the standard input.
        format: A name of `FORMATS`; by default each file's suffix says.
        options: How to read.

    Raises:
        ConfigError: There is no such format.
        DataError: A file cannot be read, or holds what its format does not allow.
    """
    chosen = options or ReadOptions()
    if format is not None and format not in FORMATS:
        raise ConfigError(one_of("`format`", format, FORMATS))
    if not paths:
        raise DataError("There are no files to read.")
    kinds = [FORMATS[format or format_of(path)] for path in paths]
    tables = [_read(path, kind, chosen) for path, kind in zip(paths, kinds, strict=True)]
    untyped = [place for place, kind in enumerate(kinds) if kind.is_untyped]
    if chosen.infer_types:
        typed = infer_types([tables[place] for place in untyped])
        for place, table in zip(untyped, typed, strict=True):
            tables[place] = table
    names = ["standard input" if str(path) == "-" else str(path) for path in paths]
    return [Part(name, table) for name, table in zip(names, tables, strict=True)]


def _read(path: str | Path, kind: Format, options: ReadOptions) -> pa.Table:
    if str(path) == "-" and not kind.is_text:
        raise DataError("Parquet and Arrow cannot be read from the standard input; give a file.")
    return kind.read(path, options)


def _source(path: str | Path, options: ReadOptions) -> Source:
    source = read_source(path, max_decompressed_bytes=options.max_decompressed_bytes)
    if source.is_empty:
        raise DataError(f"{source.name}: the file is empty.")
    return source
