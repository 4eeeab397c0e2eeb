"""The starter data that comes with the package: short English and Chinese messages.

One file for each language, a JSON object per line, with what every task needs: `id`, `split`,
`text`, `sentiment`, `intent`, `entities` (`label`, `start`, `end`), `question`, `answers` (`text`,
`start`), `paraphrase`, `score`, `summary`, `translation`.
"""

from importlib import resources
from pathlib import Path

import pyarrow as pa

from abrazo.data.dataset import Dataset, DatasetDict, concatenate_datasets
from abrazo.data.readers.formats import Part, read_files
from abrazo.errors import ConfigError, one_of

STARTER_NAME = "abrazo/starter"
LANGUAGES = ("en", "zh")


def load_starter(language: str | None = None, *, folder: Path | None = None) -> DatasetDict:
    """Return the starter data by split, with a column `language` in place of `split`.

    Args:
        language: `en` or `zh`; both by default.
        folder: Where the files are; by default in the package.
    """
    if language is not None and language not in LANGUAGES:
        raise ConfigError(one_of("`language`", language, LANGUAGES))
    names = [language] if language else list(LANGUAGES)
    whole = concatenate_datasets([_read(name, folder) for name in names])
    splits = whole["split"].to_list()
    numbers: dict[str, list[int]] = {split: [] for split in splits}
    for number, split in enumerate(splits):
        numbers[split].append(number)
    rows = whole.remove_columns("split")
    return DatasetDict({split: rows.select(chosen) for split, chosen in numbers.items()})


def _read(language: str, folder: Path | None) -> Dataset:
    name = f"messages_{language}.jsonl"
    home = resources.files("abrazo.data") / "starter" if folder is None else folder
    with resources.as_file(home / name) as path:
        table = read_files([path])[0].table
    table = table.append_column("language", pa.array([language] * table.num_rows))
    return Dataset.from_parts([Part(f"{STARTER_NAME} ({name})", table)])
