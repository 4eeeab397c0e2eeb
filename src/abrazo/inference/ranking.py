"""Ranking by a model that reads question and text together, which is slower and more exact.

Such a model (a cross-encoder) is a text classifier of pairs with one number as its answer. Let
`search` find a few dozen texts, and `rank` put them in order.
"""

from collections.abc import Sequence
from typing import Any

from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import predict_items
from abrazo.inference.pipeline import Pipeline
from abrazo.inference.search import Hit
from abrazo.models.base import PretrainedModel
from abrazo.tasks.text_classification import TextClassification


def rank(
    query: str,
    documents: Sequence[str],
    *,
    model: PretrainedModel | Pipeline,
    top_k: int | None = None,
    precision: str = "auto",
) -> list[Hit]:
    """Put texts in order by how well they go with a question.

    Args:
        query: The question.
        documents: The texts.
        model: A text classifier with one label, trained on pairs; or a pipeline of it, which keeps
            its copy of the weights from call to call.
        top_k: How many are returned; None returns all.
        precision: `auto`, `fp32`, `bf16` or `fp16`; of a pipeline, its own counts.

    Returns:
        The texts with their scores, the highest first; equal ones in their order.

    Raises:
        ConfigError: The model is no text classifier with one label, or `top_k` is below 1.
        DataError: There is no text, or something is none.
    """
    if not isinstance(model, PretrainedModel | Pipeline):
        raise ConfigError(
            f"`rank` takes a loaded model or a pipeline, but `model` is {model!r:.80}. Load it: "
            "`load_model(name)`."
        )
    if isinstance(model, Pipeline):
        task, engine, tokenizer = model.task, model.engine, model.tokenizer
    else:
        task, engine, tokenizer = _task_of(model), None, model.tokenizer
    if not isinstance(task, TextClassification) or task.problem != "regression":
        raise ConfigError(
            "`rank` needs a text classifier of pairs with one number as its answer. Train "
            "`text-classification` on two texts and a score."
        )
    if top_k is not None and top_k < 1:
        raise ConfigError(f"`top_k` must be at least 1, but is {top_k}.")
    if not isinstance(query, str) or isinstance(documents, str) or not len(documents):
        raise DataError("`rank` takes one text and a list of at least one text.")
    rows = [task.as_row((query, document)) for document in documents]
    if engine is None:
        assert isinstance(model, PretrainedModel)
        engine = Engine(model, precision=precision)
    scores = [float(found[0]) for found in predict_items(engine, task, rows, tokenizer)]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:top_k]
    return [Hit(place, scores[place], documents[place]) for place in order]


def _task_of(model: PretrainedModel) -> Any:
    is_classifier = model.head_name == TextClassification.head_name
    return TextClassification.of_model(model) if is_classifier else None
