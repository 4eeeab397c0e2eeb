"""Lines of plain text files, one after the other, with bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from abrazo.errors import ConfigError, DataError

Files = str | Path | Sequence[str | Path]

_MAX_CHARACTERS = 2**20
"""A longer line is given in several pieces."""


def text_lines(files: Files) -> Iterator[str]:
    """Yield the lines of UTF-8 files, with the line breaks they end in.

    Raises:
        DataError: A file cannot be read, or is not UTF-8; it is named.
    """
    for path in as_paths(files):
        try:
            with path.open(encoding="utf-8-sig") as file:
                while line := file.readline(_MAX_CHARACTERS):
                    yield line
        except UnicodeDecodeError as error:
            raise DataError(
                f"The file `{path}` is no UTF-8 text: {error}. Save it as UTF-8."
            ) from error
        except OSError as error:
            raise DataError(f"The file `{path}` cannot be read: {error.strerror}.") from error


def as_paths(files: Files) -> list[Path]:
    """Return one path or several as a list.

    Raises:
        ConfigError: There is none.
    """
    given = [files] if isinstance(files, str | Path) else list(files)
    if not given:
        raise ConfigError("No file is given.")
    return [Path(file).expanduser() for file in given]
