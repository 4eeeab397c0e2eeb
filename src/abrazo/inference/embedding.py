"""Texts as vectors: `model.encode` and `model.similarity` of every model.

    vectors = model.encode(["a fine film", "a bore"])        # (2, width)
    model.similarity("a fine film", "a great movie")         # 0.71

Shapes: N and M texts, D width of the vectors.
"""

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.errors import ConfigError, DataError, one_of
from abrazo.inference.engine import Engine
from abrazo.models.base import PretrainedModel
from abrazo.models.sentence import SentenceModel
from abrazo.models.sentence_files import SentenceRecipe
from abrazo.tasks.base import Features
from abrazo.tasks.feature_extraction import (
    FeatureExtraction,
    FeatureExtractionSettings,
    prepared,
    text_features,
)

Vectors = np.ndarray | Tensor
Texts = str | Sequence[str]

_ENCODED_AT_ONCE = 2_048


@overload
def encode(
    model: PretrainedModel,
    texts: Texts,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    precision: str = "auto",
    token_budget: int | None = None,
    convert_to: Literal["numpy"] = "numpy",
) -> np.ndarray: ...


@overload
def encode(
    model: PretrainedModel,
    texts: Texts,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    precision: str = "auto",
    token_budget: int | None = None,
    convert_to: Literal["pt"],
) -> Tensor: ...


def encode(
    model: PretrainedModel,
    texts: Texts,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    precision: str = "auto",
    token_budget: int | None = None,
    convert_to: Literal["numpy", "pt"] = "numpy",
) -> Vectors:
    """Turn texts into vectors of their meaning.

    Texts are sorted by length and packed without padding; a text's vector is the same alone or
    among others. How tokens become a vector is read from the model's folder (files of the
    sentence-transformers library); without them it is the mean of the tokens at length 1.

    Args:
        model: Any model with a backbone; it is left as it is.
        texts: One text, or several.
        prompt: Put before each text, such as `"query: "`.
        prompt_name: Names one of the model's own prompts instead, such as `query`.
        normalize: Whether vectors get length 1; None does as the model's folder says.
        truncate_dim: How many leading numbers of each vector are kept, before the length is set;
            for models trained with `matryoshka_sizes`.
        precision: `auto` is bf16 where the hardware has units for it, else fp32; `fp32`, `bf16`,
            `fp16`. The copy of the weights that another precision needs is kept for the next call.
        token_budget: Tokens of a batch; None takes what suits the device.
        convert_to: `numpy`, or `pt` for a torch tensor on the CPU.

    Returns:
        (N, D) in fp32, or (D,) for a single text.

    Raises:
        DataError: Something is no text; it is named by its number.
        ConfigError: An option is wrong, or the model has no such prompt.
        CheckpointError: The files in the model's folder are damaged or not understood.
    """
    if convert_to not in ("numpy", "pt"):
        raise ConfigError(one_of("`convert_to`", convert_to, ("numpy", "pt")))
    listed = _listed(texts)
    prepared_model = _prepare(model)
    recipe = prepared_model.recipe
    width = prepared_model.raw.width
    if truncate_dim is not None and not 1 <= truncate_dim <= width:
        raise ConfigError(
            f"`truncate_dim` must be from 1 to {width}, the width of the vectors, but is "
            f"{truncate_dim}."
        )
    text_prompt = _prompt(recipe, prompt, prompt_name)
    engine = prepared_model.engine(precision, token_budget)
    task = FeatureExtraction(FeatureExtractionSettings())
    vectors = np.empty((len(listed), width), dtype=np.float32)
    features = _features(listed, text_prompt, recipe, model, prepared_model.raw.text_length)
    for feature, outputs in engine.run(features, task.collate):
        vectors[feature.row] = outputs["embeddings"]
    found = torch.from_numpy(vectors)[:, :truncate_dim]
    if recipe.normalize if normalize is None else normalize:
        found = F.normalize(found, dim=-1)
    found = found[0] if isinstance(texts, str) else found
    return found.contiguous() if convert_to == "pt" else np.ascontiguousarray(found.numpy())


def similarity(
    model: PretrainedModel,
    first: Texts | Vectors,
    second: Texts | Vectors,
    *,
    metric: str | None = None,
    **options: Any,
) -> np.ndarray:
    """Compare texts, or vectors, each with each.

    Args:
        model: Encodes what is text.
        first: N texts or (N, D) vectors; or a single text or (D,) vector.
        second: M texts or (M, D) vectors; or a single text or (D,) vector.
        metric: `cosine`, `dot`, `euclidean` or `manhattan` (distances count as negative, so that
            more is always more alike); None takes the one of the model's folder, `cosine` if none.
        options: As for `encode`.

    Returns:
        (N, M) similarities in fp32, without the axis of a single text or vector.

    Raises:
        DataError: Something is neither text nor vectors, or widths differ.
        ConfigError: An option is wrong.
    """
    if metric is None:
        metric = metric_of(model)
    sides = [_vectors_of(model, side, options) for side in (first, second)]
    found = compare(*(torch.atleast_2d(side) for side in sides), metric=metric)
    if sides[1].dim() == 1:
        found = found[:, 0]
    return found[0].numpy() if sides[0].dim() == 1 else found.numpy()


def compare(first: Tensor, second: Tensor, *, metric: str = "cosine") -> Tensor:
    """Compare (N, D) with (M, D) vectors, each with each.

    Returns:
        (N, M) similarities; more is more alike.

    Raises:
        ConfigError: There is no such metric.
        DataError: The widths differ.
    """
    if metric not in COMPARISONS:
        raise ConfigError(one_of("`metric`", metric, COMPARISONS))
    if first.shape[-1] != second.shape[-1]:
        raise DataError(
            f"Vectors can be compared only at one width, but one side has {first.shape[-1]} "
            f"numbers and the other {second.shape[-1]}."
        )
    return COMPARISONS[metric](first, second)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return first @ second.T


def _euclidean(first: Tensor, second: Tensor) -> Tensor:
    return -torch.cdist(first, second)


def _manhattan(first: Tensor, second: Tensor) -> Tensor:
    return -torch.cdist(first, second, p=1.0)


COMPARISONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}
"""How vectors are compared, from (N, D) and (M, D) to (N, M)."""


def metric_of(model: PretrainedModel) -> str:
    """Return how the model's vectors are to be compared.

    Raises:
        CheckpointError: The files in the model's folder are damaged or not understood.
    """
    return _prepare(model).recipe.similarity


def prompt_name_for(model: PretrainedModel, role: Literal["query", "document"]) -> str | None:
    """Return the name of the model's prompt for questions or for what is searched, if it has one.

    Raises:
        CheckpointError: The files in the model's folder are damaged or not understood.
    """
    names = {"query": ("query",), "document": ("document", "passage", "corpus")}[role]
    prompts = _prepare(model).recipe.prompts
    return next((name for name in names if prompts.get(name)), None)


# A model between calls -----------------------------------------------------------------------

_Fingerprint = tuple[list[tuple[int, int]], Tensor]


@dataclasses.dataclass
class _Prepared:
    """What is kept for a model, so that the next call need not make it again."""

    recipe: SentenceRecipe
    """How tokens become a vector."""
    raw: SentenceModel
    """Shares the model's weights; its vectors keep their length."""
    copies: dict[str, tuple[_Fingerprint, PretrainedModel]]
    """Copies in another precision, and what the weights were like when they were made."""

    def engine(self, precision: str, token_budget: int | None) -> Engine:
        """Return an engine; one on a copy of the weights only while they are as they were."""
        state = _fingerprint(self.raw)
        kept = self.copies.get(precision)
        source = self.raw if kept is None or not _is_same(kept[0], state) else kept[1]
        engine = Engine(source, precision=precision, token_budget=token_budget)
        self.copies.pop(precision, None)
        if engine.model is not self.raw:
            self.copies[precision] = (state, engine.model)
        return engine


# Nothing in a `_Prepared` refers to the model itself, so it goes when the model goes.
_prepared_models: "weakref.WeakKeyDictionary[PretrainedModel, _Prepared]" = (
    weakref.WeakKeyDictionary()
)


def _prepare(model: PretrainedModel) -> _Prepared:
    if not isinstance(model, PretrainedModel):
        raise ConfigError(
            f"Texts are encoded by a model, but it is {model!r:.80}. Load one: "
            '`load_model("minilm")`.'
        )
    kept = _prepared_models.get(model)
    if isinstance(model, SentenceModel):
        recipe = model.recipe
    else:
        recipe = SentenceModel(model).recipe if kept is None else kept.recipe
    if kept is None or kept.recipe != recipe or kept.raw.backbone is not model.backbone:
        raw = SentenceModel(model)
        raw.change_recipe(normalize=False)
        kept = _Prepared(recipe, raw, {})
        _prepared_models[model] = kept
    kept.raw.head.to(model.device)
    kept.raw.train(model.training)
    kept.raw._tokenizer = model._tokenizer
    return kept


def _fingerprint(model: PretrainedModel) -> _Fingerprint:
    """Return what tells whether weights have changed: where they are, their versions, a sample.

    Changes in place raise the version; the sample sees those made behind torch's back, by `.data`.
    """
    weights = list(model.parameters())
    sample = torch.stack([weight.detach()[(0,) * weight.dim()].float() for weight in weights])
    versions = [0 if weight.is_inference() else weight._version for weight in weights]
    places = [weight.data_ptr() for weight in weights]
    return list(zip(places, versions, strict=True)), sample


def _is_same(kept: _Fingerprint, now: _Fingerprint) -> bool:
    return kept[0] == now[0] and torch.equal(kept[1], now[1])


# Texts and prompts ---------------------------------------------------------------------------


def _features(
    texts: Sequence[str],
    prompt: str,
    recipe: SentenceRecipe,
    model: PretrainedModel,
    max_length: int,
) -> Iterator[Features]:
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        part = [
            prepared(text, prompt, recipe.lowercase)
            for text in texts[start : start + _ENCODED_AT_ONCE]
        ]
        numbers = range(start, start + len(part))
        yield from text_features(part, numbers, model.tokenizer, max_length)


def _listed(texts: Texts) -> list[str]:
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, Mapping) or not hasattr(texts, "__iter__"):
        raise DataError(f"Texts must be a text or a list of texts, but are {texts!r:.80}.")
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise DataError(
                f"Text {number} must be a text, but is {text!r:.80} of type {type(text).__name__}. "
                "Remove or fill it."
            )
    return listed


def _prompt(recipe: SentenceRecipe, prompt: str | None, name: str | None) -> str:
    if prompt is not None and name is not None:
        raise ConfigError("`prompt` and `prompt_name` both say what is put before; leave one out.")
    if prompt is None:
        name = recipe.default_prompt if name is None else name
        if name is not None and name not in recipe.prompts:
            if not recipe.prompts:
                raise ConfigError(
                    f"The model has no prompts, so `prompt_name={name!r}` names none. Give the "
                    "text itself as `prompt`."
                )
            raise ConfigError(one_of("`prompt_name`", name, recipe.prompts))
        prompt = "" if name is None else recipe.prompts[name]
    if prompt and not recipe.reads_prompt:
        raise ConfigError(
            "This model leaves prompts out of the pooling (`include_prompt` is false in its "
            "folder), which is not supported. Encode without a prompt: `prompt=''`."
        )
    return prompt


def _vectors_of(
    model: PretrainedModel, side: Texts | Vectors, options: Mapping[str, Any]
) -> Tensor:
    if isinstance(side, np.ndarray | Tensor) and (
        isinstance(side, Tensor) or side.dtype.kind in "fiu"
    ):
        return as_vectors(side)
    found: np.ndarray = encode(model, side, **options)  # type: ignore[arg-type]
    return torch.from_numpy(found)


def as_vectors(values: Vectors) -> Tensor:
    """Return (N, D) or (D,) vectors as a tensor in fp32 on the CPU.

    Raises:
        DataError: They have another shape, or a number is NaN or infinite.
    """
    found = torch.as_tensor(values).detach().float().cpu()
    if found.dim() not in (1, 2):
        raise DataError(f"Vectors must have the shape (N, width), but have {tuple(found.shape)}.")
    is_bad = ~torch.isfinite(found).reshape(-1, found.shape[-1]).all(-1)
    if bool(is_bad.any()):
        row = int(is_bad.nonzero()[0])
        raise DataError(f"Vector {row} must be of numbers, but has NaN or infinity in it.")
    return found
