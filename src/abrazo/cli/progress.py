"""Answers that are kept while a run goes on, so that one that is broken off can be gone on with.

Beside `answers.csv` there is `answers.csv.progress` until all rows have an answer:

    {"abrazo": "0.1.0", "run": {...}}          what decides the answers
    ["the answer of the first row"]
    ["the answer of the second row"]
    {"rows": 2, "digest": "..."}               the end of a part: rows so far, and their digest
    ["the answer of the third row"]            lost when the run ends here

A part counts once its last line is whole. Parts are cut by the number of the row alone, so a run
that goes on computes what one that was never broken off does, in the same batches.
"""

import fcntl
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from abrazo import __version__
from abrazo.data.writing import json_value
from abrazo.errors import DataError

logger = logging.getLogger("abrazo")

Rows = Callable[[range], list[dict[str, Any]]]

SUFFIX = ".progress"
_MODEL_FILES = (".json", ".safetensors", ".model", ".txt", ".jinja", ".spm")
_OF_TRAINING = ("optimizer.safetensors", "rng.safetensors", "trainer_state.json")
_STEPS = "[0-9]_*/*"  # of models of sentences, as `1_Pooling/config.json`
_SECONDS_BETWEEN_LINES = 30


class Progress:
    """The answers of a run so far, in a file."""

    def __init__(
        self,
        output: str,
        run: Mapping[str, Any],
        rows: Rows,
        count: int,
        part_size: int,
        restart: bool,
    ) -> None:
        """Say what is to be kept; it is looked at when the context is entered.

        Args:
            output: The file that the answers will go to.
            run: What decides the answers besides the rows, by name.
            rows: Gives the rows of a range of numbers.
            count: How many rows there are.
            part_size: How many rows are kept together.
            restart: Whether what an earlier run has kept is thrown away.
        """
        self.path = Path(output + SUFFIX)
        self._output, self._run = output, json.loads(json.dumps(run, default=str))
        self._rows, self._count, self._part_size = rows, count, part_size
        self._restart = restart
        self._digest = b""
        self.num_rows = 0
        """Rows whose answers are kept."""

    # The file as a whole --------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Open the file, and take up what an earlier run has kept.

        Raises:
            DataError: It cannot be written, another process writes it, or the earlier run had
                other rows or options.
        """
        try:
            self._file = self._opened()
        except OSError as error:
            raise DataError(f"`{self._output}` cannot be written: {error}") from error
        try:
            if self._restart or not self._take_up():
                self._start()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file if all is written, or nothing is in it; else say what is kept."""
        if kind is None or not self.num_rows:
            self.path.unlink(missing_ok=True)
        else:
            logger.info(
                "The answers of %d of %d rows are kept in `%s`; the same command goes on.",
                self.num_rows,
                self._count,
                self.path,
            )
        self._file.close()

    def _opened(self) -> IO[bytes]:
        """Open the file for this process alone."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DataError(
                f"`{self._output}` is being written by another process, which holds `{self.path}`. "
                "Wait for it, or choose another `--output`."
            ) from error
        except OSError:  # a file system without locks
            pass
        return os.fdopen(descriptor, "r+b")

    def _start(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._write([_line({"abrazo": __version__, "run": self._run})])

    def _take_up(self) -> bool:
        """Go to the end of the last whole part; tell whether there is anything to go on with."""
        header = self._file.readline()
        if not header.endswith(b"\n"):
            return False  # nothing, or not even the first line
        self._require_same_run(header)
        end = self._file.tell()
        for place, num_rows, digest in self._ends_of_parts():
            is_last = num_rows == self._count
            if num_rows > self._count or (num_rows % self._part_size and not is_last):
                break  # of an input that ended there
            self._extend_digest(range(self.num_rows, num_rows))
            if digest != self._digest.hex():
                raise DataError(
                    f"Rows {self.num_rows + 1} to {num_rows} are not those whose answers an "
                    f"earlier run has kept in `{self.path}`. {self._remedy()}"
                )
            end, self.num_rows = place, num_rows
        self._file.seek(end)
        self._file.truncate()
        if self.num_rows:
            logger.info(
                "%d of %d rows have an answer in `%s`; going on from there.",
                self.num_rows,
                self._count,
                self.path,
            )
        return True

    def _require_same_run(self, header: bytes) -> None:
        """Check that the earlier run is one that this one goes on with.

        Raises:
            DataError: The file is none of these, or the run had other options or another model.
        """
        try:
            found = json.loads(header)
            version, run = found["abrazo"], dict(found["run"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f"`{self.path}` is not what `abrazo` keeps of a run that was broken off. Remove "
                "it, or choose another `--output`."
            ) from error
        differences = [] if version == __version__ else [f"abrazo was {version}, is {__version__}"]
        for name in dict.fromkeys([*run, *self._run]):
            before, now = run.get(name), self._run.get(name)
            if before != now and name == "model":
                differences.append("the model's files are others")
            elif before != now:
                differences.append(f"`{name}` was {before!r:.60}, is {now!r:.60}")
        if differences:
            raise DataError(
                f"`{self.path}` keeps the answers of an earlier run that differs: "
                f"{'; '.join(differences)}. {self._remedy()}"
            )

    def _remedy(self) -> str:
        return "Give the same again to go on, or `--restart` to begin anew."

    # Parts ---------------------------------------------------------------------------------

    def parts_to_do(self) -> Iterator[range]:
        """Yield the numbers of the rows of each part that is not kept yet."""
        for start in range(self.num_rows, self._count, self._part_size):
            yield range(start, min(start + self._part_size, self._count))

    def add(self, answers: Sequence[Any]) -> None:
        """Keep the answers of the next part.

        Raises:
            DataError: They cannot be written.
        """
        numbers = range(self.num_rows, self.num_rows + len(answers))
        self._extend_digest(numbers)
        end = {"rows": numbers.stop, "digest": self._digest.hex()}
        self._write([*(_line([answer]) for answer in answers), _line(end)])
        self.num_rows = numbers.stop

    def answers(self) -> Iterator[tuple[range, list[Any]]]:
        """Yield the rows' numbers and the answers of each part."""
        self._file.seek(0)
        self._file.readline()
        start, answers = 0, []
        for line in self._file:
            found = json.loads(line)
            if isinstance(found, list):
                answers += found
            else:
                yield range(start, found["rows"]), answers
                start, answers = found["rows"], []

    def _ends_of_parts(self) -> Iterator[tuple[int, int, str]]:
        """Yield where each whole part ends, the rows up to there and their digest."""
        num_answers = 0
        while line := self._file.readline():
            try:
                found = json.loads(line) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, list):
                num_answers += 1
            elif isinstance(found, dict) and found.get("rows") == num_answers:
                yield self._file.tell(), num_answers, str(found.get("digest"))
            else:
                return  # a line that was broken off

    def _extend_digest(self, numbers: range) -> None:
        """Take rows into the digest."""
        digest = hashlib.blake2b(self._digest, digest_size=16)
        for row in self._rows(numbers):
            digest.update(json.dumps(row, ensure_ascii=False, default=str).encode())
        self._digest = digest.digest()

    def _write(self, lines: Sequence[bytes]) -> None:
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"`{self.path}` cannot be written: {error}") from error


def digest_of_folder(folder: Path | None) -> str:
    """Return a digest of the files that a model is loaded from."""
    if folder is None:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.iterdir(), *folder.glob(_STEPS)]):
        if path.suffix in _MODEL_FILES and path.name not in _OF_TRAINING and path.is_file():
            with path.open("rb") as file:
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def shown_progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show how many rows have an answer: a bar on a terminal, now and then a line elsewhere.

    Args:
        total: How many rows there are.
        done: How many have an answer already.

    Yields:
        What is told how many rows have an answer by now.
    """
    if not sys.stderr.isatty():
        yield _line_now_and_then(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("answering"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda now: bar.update(task, completed=now)


def _line_now_and_then(total: int) -> Callable[[int], None]:
    told = time.monotonic()

    def show(now: int) -> None:
        nonlocal told
        if time.monotonic() - told > _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logger.info("%d of %d rows have an answer.", now, total)

    return show


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=json_value).encode() + b"\n"
