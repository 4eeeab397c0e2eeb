"""`load_dataset`: rows from files of any known format, from patterns, and from the starter data."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from abrazo.data.dataset import Dataset, DatasetDict
from abrazo.data.readers.formats import FORMATS, ReadOptions, read_files
from abrazo.data.starter import STARTER_NAME, load_starter
from abrazo.errors import ConfigError, DataError, did_you_mean

Files = str | Path | Sequence[str | Path]


def load_dataset(
    path: str | Path,
    *,
    data_files: Files | Mapping[str, Files] | None = None,
    split: str | None = None,
    language: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    field: str | None = None,
    infer_types: bool = True,
    max_decompressed_bytes: int | None = None,
) -> Dataset | DatasetDict:
    """Load rows from files.

    >>> load_dataset("train.csv")  # doctest: +SKIP
    >>> load_dataset("csv", data_files={"train": "train.csv", "test": "test.csv"})  # doctest: +SKIP
    >>> load_dataset("json", data_files="news/*.jsonl")  # doctest: +SKIP
    >>> load_dataset("abrazo/starter", language="zh", split="train")  # doctest: +SKIP

    Args:
        path: A format (`csv`, `tsv`, `json`, `jsonl`, `parquet`, `arrow`, `text`) when
            `data_files` says which files; else a file or pattern whose suffix shows the format, or
            `abrazo/starter`, the data that comes with the package.
        data_files: A file, a pattern such as `news/*.csv`, several of these, or a dict of split
            names to these.
        split: The split to return.
        language: `en` or `zh`, for the starter data; both by default.
        encoding: Encoding of text files; by default UTF-8, or what the byte order mark says.
        delimiter: Character between the cells of CSV and TSV files.
        field: Key of the list of rows, when a JSON file is one object.
        infer_types: Whether columns of numbers in CSV and TSV files become numbers.
        max_decompressed_bytes: The most that a compressed file may grow to; by default 100 times
            its size, at least 256 MiB.

    Returns:
        A `DatasetDict` for a dict of files and for the starter data, unless `split` picks one; else
        a `Dataset`.

    Raises:
        DataError: A file cannot be read; it names file, row, value and remedy.
        ConfigError: An argument is wrong.
    """
    if str(path) == STARTER_NAME:
        found: Dataset | DatasetDict = load_starter(language)
    else:
        options = ReadOptions(
            encoding=encoding,
            delimiter=delimiter,
            field=field,
            infer_types=infer_types,
            max_decompressed_bytes=max_decompressed_bytes,
        )
        format_name, files = _format_and_files(path, data_files)
        if isinstance(files, Mapping):
            found = _load_splits(files, format_name, options)
        else:
            found = Dataset.from_files(expand_files(files), format_name, options)
    if split is None:
        return found
    return found[split] if isinstance(found, DatasetDict) else _only_split(found, split)


def read_table(
    source: str | Path, *, format: str | None = None, options: ReadOptions | None = None
) -> Dataset:
    """Read one file, or the standard input when `source` is `-`.

    Args:
        source: The file.
        format: A name of `abrazo.data.readers.formats.FORMATS`; by default the suffix says, and
            the standard input holds JSON lines.
        options: How to read.
    """
    chosen = format or ("jsonl" if str(source) == "-" else None)
    return Dataset.from_files(source, chosen, options)


def _format_and_files(
    path: str | Path, data_files: Files | Mapping[str, Files] | None
) -> tuple[str | None, Files | Mapping[str, Files]]:
    name = str(path)
    if data_files is not None:
        if name not in FORMATS:
            raise ConfigError(
                f"With `data_files`, the first argument must be their format, one of "
                f"{', '.join(FORMATS)}, but is `{name}`.{did_you_mean(name, FORMATS)}"
            )
        return name, data_files
    if name in FORMATS and not Path(path).exists():
        raise ConfigError(f'Give the files, as in `load_dataset("{name}", data_files="...")`.')
    if not Path(name).suffix and not Path(name).exists():
        raise DataError(
            f"There is no data `{name}`: it must be a file, a pattern, a format with `data_files`, "
            f"or `{STARTER_NAME}`.{did_you_mean(name, [STARTER_NAME, *FORMATS])}"
        )
    return None, path


def _load_splits(
    files: Mapping[str, Files], format_name: str | None, options: ReadOptions
) -> DatasetDict:
    """Read all splits at once, so that a column has one type in all of them."""
    paths = {split: expand_files(chosen) for split, chosen in files.items()}
    parts = iter(
        read_files([path for chosen in paths.values() for path in chosen], format_name, options)
    )
    splits = DatasetDict()
    for split, chosen in paths.items():
        splits[split] = Dataset.from_parts([next(parts) for _ in chosen])
    return splits


def expand_files(files: Files) -> list[str | Path]:
    """Return all files that paths and patterns stand for; those of a pattern in order of name.

    Raises:
        DataError: No file matches a pattern.
    """
    given = [files] if isinstance(files, str | Path) else list(files)
    found: list[str | Path] = []
    for path in given:
        if Path(path).exists() or not glob.has_magic(str(path)):
            found.append(path)
            continue
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise DataError(f"No file matches the pattern `{path}`.")
        found.extend(matches)
    return found


def _only_split(dataset: Dataset, split: str) -> Dataset:
    if split != "train":
        raise DataError(
            f"The data has no split `{split}`; it is one dataset, called `train`. Name splits by "
            '`data_files={"train": ..., "test": ...}`, or use `train_test_split`.'
        )
    return dataset
