"""`abrazo`: the table of commands, and what happens around each of them.

A command's module is imported when the command runs, so that `abrazo --help` answers at once.
"""

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

from cyclopts import App, CycloptsError

from abrazo import __version__
from abrazo.cli.options import as_options
from abrazo.errors import AbrazoError, ConfigError, did_you_mean
from abrazo.own_code import is_reference

COMMANDS = {
    "train": ("abrazo.cli.train:app", "Fine-tune a model on your own rows."),
    "search": ("abrazo.cli.search:app", "Search for the best hyper-parameters of a run."),
    "pretrain": ("abrazo.cli.pretrain:command", "Pretrain a model on plain text files."),
    "evaluate": ("abrazo.cli.evaluate:command", "Measure a model on labelled rows."),
    "predict": ("abrazo.cli.predict:command", "Answer rows of a file or of a stream."),
    "generate": ("abrazo.cli.generate:command", "Write on from prompts."),
    "translate": ("abrazo.cli.writing:translate_command", "Translate texts."),
    "summarize": ("abrazo.cli.writing:summarize_command", "Summarize texts."),
    "explain": ("abrazo.cli.explain:explain", "Show what a model is made of."),
    "convert": ("abrazo.cli.convert:convert", "Convert pickled weights to safetensors."),
    "demo": ("abrazo.cli.demo:demo", "Train, evaluate and use a classifier on the starter data."),
    "doctor": ("abrazo.cli.doctor:doctor", "Look for what stands in the way on this machine."),
}
"""The commands: where each one is, and what it does."""

PER_TASK = ("train", "search")
"""The commands that have one within them for each task."""

USAGE_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141

_MASKED_HYPHEN = "\u2060-"  # with a word joiner, which does not show

_EPILOGUE = """\
Every command tells its options by `--help`. With `--debug`, or ABRAZO_DEBUG=1, an error shows its
traceback.
"""


def build_app(chosen: str | None = None, own_task: str | None = None) -> App:
    """Return the whole command line.

    Args:
        chosen: The command that will run. Its module is imported, so that its own documentation is
            its help; of the others only the summary is known.
        own_task: Where the command's task is a user's own, as `my_file.py:MyTask`.
    """
    app = App(
        name="abrazo",
        help="Fine-tune, evaluate and use text transformers on your own hardware.",
        help_epilogue=_EPILOGUE,
        version=__version__,
    )
    for number, (name, (place, summary)) in enumerate(COMMANDS.items()):
        if name == chosen:
            home, _, attribute = place.partition(":")
            module = importlib.import_module(home)
            command = getattr(module, attribute)
            if own_task is not None:
                from abrazo.cli.tasks import own_task_app

                command = own_task_app(name, own_task, module.command_of)
            app.command(command, name=name)
        else:
            app.command(place, name=name, help=summary, sort_key=number)
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        tokens: The words after `abrazo`; None takes those of the process.

    Returns:
        0, or what the command returns; 2 for what the user can put right, 130 for Ctrl-C, 141
        where the reader of the output went away.
    """
    given = list(sys.argv[1:] if tokens is None else tokens)
    words = [word for word in given if word != "--debug"]
    if len(words) < len(given) or os.environ.get("ABRAZO_DEBUG", "") not in ("", "0"):
        with _messages(sys.stderr):
            return _run(words)
    try:
        with _messages(sys.stderr):
            return _run(words)
    except (AbrazoError, CycloptsError) as error:
        _tell(sys.stderr, "Error", error)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # what is still in the buffer would raise once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _run(words: Sequence[str]) -> int:
    chosen = words[0] if words and not words[0].startswith("-") else None
    if chosen is not None and chosen not in COMMANDS:
        hint = did_you_mean(chosen, COMMANDS) or " `abrazo --help` lists them all."
        raise ConfigError(f"There is no command `{chosen}`.{hint}")
    is_own = chosen in PER_TASK and len(words) > 1 and is_reference(words[1])
    return _call(build_app(chosen, words[1] if is_own else None), words)


def _call(app: App, words: Sequence[str]) -> int:
    """Run the command that words name; `-`, which cyclopts takes for an option, is a plain word."""
    masked = [_MASKED_HYPHEN if word == "-" else word for word in words]
    function, bound, _ = app.parse_args(masked, exit_on_error=False, print_error=False)
    values = {
        name: "-" if value == _MASKED_HYPHEN else value for name, value in bound.arguments.items()
    }
    bound.arguments.update(values)
    try:
        code = function(*bound.args, **bound.kwargs)
    except AbrazoError as error:
        # a name of one word may be that of a column
        options = [name for name in bound.signature.parameters if "_" in name]
        error.args = (as_options(str(error), options), *error.args[1:])
        raise
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _tell(stream: TextIO, kind: str, message: object) -> None:
    """Write a message, in colour on a terminal."""
    mark = f"\033[1;31m{kind}:\033[0m" if stream.isatty() else f"{kind}:"
    print(f"{mark} {message}", file=stream)


@contextlib.contextmanager
def _messages(stream: TextIO) -> Iterator[None]:
    """Show what the library logs and warns of as plain lines."""
    logger = logging.getLogger("abrazo")
    handler, level = logging.StreamHandler(stream), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _tell(stream, "Warning", message)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
