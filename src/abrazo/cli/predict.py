"""`abrazo predict`: rows in, the same rows with the model's answers out."""

from typing import TYPE_CHECKING

from abrazo.cli.answering import Places, answer_places
from abrazo.cli.loading import Columns, InferenceOptions, load_pipeline
from abrazo.cli.options import with_options
from abrazo.data.readers.formats import ReadOptions
from abrazo.errors import ConfigError

if TYPE_CHECKING:
    from abrazo.inference.pipeline import Pipeline


def predict(
    model: str,
    input: str,
    /,
    *,
    top_k: int = 1,
    places: Places,
    columns: Columns,
    inference: InferenceOptions,
    read: ReadOptions,
) -> None:
    """Answer the rows of a file or of a stream, in order.

    The output has the columns of the input and the answer: `predicted_label` and
    `predicted_score` for one class, `predicted` for a list of candidates or of several classes at
    once. A text file gets one answer a line.

    From a file to a file, answers are kept as they come: the same command goes on where a run was
    broken off.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        input: A CSV, TSV, JSON, Parquet, Arrow or text file, or `-` for the standard input, whose
            JSON lines or texts are answered as they come.
        top_k: How many candidates of each answer; 0 gives all.
        places: Where answers go.
        columns: Columns of the file.
        inference: How to compute.
        read: How to read the file.
    """
    if top_k < 0:
        raise ConfigError(f"`--top-k` must be 0 or more, but is {top_k}.")

    def load() -> "Pipeline":
        from abrazo.tasks.writing import WritingTask

        pipeline = load_pipeline(model, columns, inference)
        if isinstance(pipeline.task, WritingTask) and top_k != 1:
            raise ConfigError(
                f"The model writes, so `--top-k {top_k}` says nothing. For several texts to each "
                "row take `abrazo generate` with `--num-return-sequences`."
            )
        return pipeline

    answer_places(input, places, read, load, top_k=top_k or None, options={"part": inference.part})


command = with_options(predict)
