"""Classes that no one trained: `sort = pipeline("zero-shot-classification", model)`.

    sort("My card was declined.", ["payment", "delivery"])
    # {"sequence": "My card was declined.", "labels": ["payment", "delivery"], "scores": [0.9, 0.1]}

Two kinds of models can do it. One that judges entailment reads each text beside each label, put
into a sentence; it is the more exact. One that makes vectors of texts compares those, which is many
times faster with many labels: each label is encoded once and kept.

Source: Yin et al. 2019, Benchmarking Zero-shot Text Classification, section 5,
https://arxiv.org/abs/1909.00161.

Shapes: L labels, C classes of an entailment model, D width of a vector.
"""

import collections
import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from abrazo.errors import ConfigError, DataError
from abrazo.inference.evaluation import predict_items
from abrazo.inference.pipeline import Pipeline
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.tasks.base import Task, row_name
from abrazo.tasks.feature_extraction import FeatureExtraction
from abrazo.tasks.text_classification import TextClassification
from abrazo.tokenization.tokenizer import Tokenizer

ENTAILMENT_TEMPLATE = "This example is {}."
"""The sentence that a label is put into for models that judge entailment."""
SIMILARITY_TEMPLATE = "{}"
"""The same for models that compare vectors."""
SHARPNESS = 20.0
"""What cosines are multiplied with before they become shares: the scale they are trained at."""
_MOST_KEPT = 10_000


class ZeroShotPipeline(Pipeline):
    """Sorts texts by labels that are given with the call."""

    template = ENTAILMENT_TEMPLATE
    labels: tuple[str, ...] = ()
    hypotheses: tuple[str, ...] = ()
    is_multi_label = False

    def __call__(
        self,
        inputs: Any,
        candidate_labels: str | Sequence[str] | None = None,
        *,
        hypothesis_template: str | None = None,
        multi_label: bool = False,
        top_k: int | None = None,
    ) -> Any:
        """Return `{sequence, labels, scores}` for each text, the likeliest label first.

        Args:
            inputs: A text, a list of texts, or an iterator, which is answered by an iterator.
            candidate_labels: The labels, as a list or with commas between them.
            hypothesis_template: The sentence that labels are put into, at `{}`; in the language of
                the texts it works best. None takes `This example is {}.` for entailment and the
                label itself for vectors.
            multi_label: Whether each label is judged by itself; else scores add up to 1. For
                vectors the score is then the cosine, at least 0.
            top_k: How many labels are returned; None returns all.

        Raises:
            ConfigError: There are no labels, one comes twice, or the template has no `{}`.
            DataError: An input is no text; it is named by its number.
        """
        labels = _labels(candidate_labels)
        template = self.template if hypothesis_template is None else hypothesis_template
        if "{}" not in template:
            raise ConfigError(
                f"`hypothesis_template` must have `{{}}` where the label goes, but is {template!r}."
            )
        asked = copy.copy(self)
        asked.labels, asked.is_multi_label = labels, multi_label
        asked.hypotheses = tuple(template.replace("{}", label) for label in labels)
        return Pipeline.__call__(asked, inputs, top_k=top_k)

    def stream(self, inputs: Iterable[Any], *, top_k: int | None = None) -> Iterator[Any]:
        """Answer texts as they come, in order, by the labels of the running call."""
        waiting: collections.deque[str] = collections.deque()

        def rows() -> Iterator[Any]:
            for number, text in enumerate(inputs):
                if not isinstance(text, str):
                    raise DataError(f"{row_name(number)}: a text is wanted, not {text!r:.80}.")
                waiting.append(text)
                yield from (self.task.as_row(item) for item in self._questions(text))

        found = predict_items(self.engine, self.task, rows(), self.tokenizer)
        while group := list(itertools.islice(found, len(self._questions("")))):
            scores = self._scores(np.stack(group))  # (L,)
            best = np.argsort(-scores, kind="stable")[:top_k]
            yield {
                "sequence": waiting.popleft(),
                "labels": [self.labels[place] for place in best],
                "scores": [float(scores[place]) for place in best],
            }

    def _questions(self, text: str) -> Sequence[Any]:
        """Return what the model is asked for one text."""
        return [(text, hypothesis) for hypothesis in self.hypotheses]

    def _scores(self, predictions: np.ndarray) -> np.ndarray:
        """Return the scores (L,) that (L, C) logits come to."""
        logits = predictions.astype(np.float64)
        task = self.task
        assert isinstance(task, TextClassification)
        entailed = _place_of(task.labels, _ENTAILMENT)
        assert entailed is not None
        if not self.is_multi_label:
            return _shares(logits[:, entailed])
        refuted = _place_of(task.labels, _CONTRADICTION)
        if refuted is None:
            among_all: np.ndarray = _shares(logits)[:, entailed]
            return among_all
        pairs = np.stack([logits[:, refuted], logits[:, entailed]], -1)  # (L, 2)
        entails: np.ndarray = _shares(pairs)[:, 1]
        return entails


class SimilarityZeroShotPipeline(ZeroShotPipeline):
    """The same by vectors: each label is encoded once and kept for further calls."""

    template = SIMILARITY_TEMPLATE

    def __init__(self, task: Task, model: PretrainedModel, tokenizer: Tokenizer, **options: Any):
        """Make a model ready; see `Pipeline`."""
        super().__init__(task, model, tokenizer, **options)
        self._vectors: dict[str, np.ndarray] = {}

    def _questions(self, text: str) -> Sequence[Any]:
        return [text]

    def _scores(self, predictions: np.ndarray) -> np.ndarray:
        """Return the scores (L,) of a text's vector (1, D)."""
        cosines: np.ndarray = (_unit(predictions) @ self._label_vectors().T)[0]  # (L,)
        return cosines.clip(0, 1) if self.is_multi_label else _shares(cosines * SHARPNESS)

    def _label_vectors(self) -> np.ndarray:
        """Return the labels' vectors (L, D), of length 1."""
        new = [each for each in self.hypotheses if each not in self._vectors]
        if new:
            if len(self._vectors) > _MOST_KEPT:
                self._vectors.clear()
                new = list(self.hypotheses)
            rows = [self.task.as_row(each) for each in new]
            vectors = predict_items(self.engine, self.task, rows, self.tokenizer)
            self._vectors.update(zip(new, vectors, strict=True))
        return _unit(np.stack([self._vectors[each] for each in self.hypotheses]))


def zero_shot_pipeline(
    model: PretrainedModel,
    tokenizer: Tokenizer | None = None,
    *,
    precision: str = "auto",
    token_budget: int | None = None,
) -> ZeroShotPipeline:
    """Return the pipeline that suits a model.

    Args:
        model: A text classifier of pairs with a label `entailment`, or a model of sentences.
        tokenizer: Used instead of the model's own.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        token_budget: Tokens of a batch; None takes what suits the device.

    Raises:
        ConfigError: The model is neither.
    """
    reader = tokenizer or model.tokenizer
    if model.head_name in ("", SentenceModel.head_name):
        view = FeatureExtraction.adopt(model)
        return SimilarityZeroShotPipeline(
            FeatureExtraction.of_model(view),
            view,
            reader,
            precision=precision,
            token_budget=token_budget,
        )
    labels = model.config.labels
    if model.head_name != TextClassification.head_name or _place_of(labels, _ENTAILMENT) is None:
        raise ConfigError(
            "`zero-shot-classification` needs a text classifier of pairs with a label "
            "`entailment`, or a model of sentences, but this is a "
            f"{type(model).__name__} with the labels {', '.join(labels[:5])}."
        )
    task = TextClassification.of_model(model)
    return ZeroShotPipeline(task, model, reader, precision=precision, token_budget=token_budget)


_ENTAILMENT = ("entail", "蕴含", "蕴涵")
_CONTRADICTION = ("contradict", "矛盾")


def _place_of(labels: Sequence[str], starts: tuple[str, ...]) -> int | None:
    """Return the first label that starts so."""
    return next((i for i, label in enumerate(labels) if label.lower().startswith(starts)), None)


def _labels(given: str | Sequence[str] | None) -> tuple[str, ...]:
    listed = given.split(",") if isinstance(given, str) else list(given or ())
    wrong = [label for label in listed if not isinstance(label, str) or not label.strip()]
    if not listed or wrong:
        shown = repr(wrong[0]) if wrong else "none"
        raise ConfigError(f"`candidate_labels` must be texts, at least one, but there is {shown}.")
    labels = tuple(label.strip() for label in listed)
    if len(set(labels)) < len(labels):
        raise ConfigError(f"`candidate_labels` must not name a label twice, but is {listed}.")
    return labels


def _shares(values: np.ndarray) -> np.ndarray:
    """Return shares along the last axis that add up to 1."""
    raised = np.exp(values - values.max(-1, keepdims=True))
    shares: np.ndarray = raised / raised.sum(-1, keepdims=True)
    return shares


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return (N, D) vectors at length 1."""
    wide = vectors.astype(np.float64)
    units: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)
    return units
