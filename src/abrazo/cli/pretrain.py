"""`abrazo pretrain`: a model learns from plain text files, new or from what it knows."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from abrazo.cli.options import with_options
from abrazo.training.checkpoint import BEST
from abrazo.training.pretraining import PretrainingArguments, PretrainingOptions
from abrazo.training.pretraining import pretrain as run_pretraining

Files = Annotated[list[str], Parameter(consume_multiple=True, negative_iterable=())]


def pretrain(
    *files: str,
    eval: Files | None = None,
    options: PretrainingOptions,
    args: PretrainingArguments,
) -> None:
    """Pretrain a model on plain text files.

    The files may be larger than the memory. Between documents there is a blank line. When the same
    command is run again after a stop, the run goes on exactly where it was.

    Args:
        files: Text files in UTF-8.
        eval: Text files to evaluate on.
        options: What is learned, and by which model.
        args: The run.
    """
    trainer = run_pretraining(list(files), options, args, eval_files=eval)
    console = Console()
    figures = {
        "train_loss": trainer.state.train_loss,
        **trainer.state.best_metrics,
        **{
            name: value
            for entry in trainer.state.log_history
            for name, value in entry.items()
            if name in ("tokens_per_second", "share_of_peak")
        },
    }
    for name, value in figures.items():
        console.print(f"{name.replace('_', ' '):<32}{value:>14,.4f}", highlight=False)
    console.print(Text(f"\nThe model is in {trainer.args.folder / BEST}."))


command = with_options(pretrain)
