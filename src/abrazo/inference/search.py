"""Search by meaning: the texts of a corpus that are nearest to a question, found exactly.

    index = SearchIndex.build(model, texts)
    index.search("where is my card?", top_k=3)       # [Hit(index=17, score=0.71, text=...), ...]
    index.save("my-index")

Vectors are compared block by block, so memory is bounded however large the corpus is.

Shapes: Q questions, N texts, D width of the vectors, k hits.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abrazo.checkpoints.atomic import atomic_folder
from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.manifest import require_intact
from abrazo.checkpoints.safetensors import open_tensors, save_tensors
from abrazo.errors import CheckpointError, ConfigError, DataError, one_of
from abrazo.inference.embedding import (
    COMPARISONS,
    Texts,
    Vectors,
    as_vectors,
    compare,
    encode,
    metric_of,
    prompt_name_for,
)
from abrazo.models.base import PretrainedModel

VECTORS_FILE = "vectors.safetensors"
TEXTS_FILE = "texts.arrow"
INDEX_FILE = "index.json"

_FORMAT = 1
_QUESTIONS_AT_ONCE = 256
_SCORES_AT_ONCE = 4_000_000


@dataclasses.dataclass(frozen=True)
class Hit:
    """One text that was found."""

    index: int
    """Its place in the corpus, from 0."""
    score: float
    """How alike it is; more is more."""
    text: str | None = None
    """The text itself, where it is known."""


class SearchIndex:
    """The vectors of a corpus, and perhaps its texts."""

    def __init__(
        self,
        vectors: Vectors,
        texts: Sequence[str] | None = None,
        *,
        model: PretrainedModel | None = None,
        metric: str = "cosine",
    ) -> None:
        """Take vectors that are there already.

        Args:
            vectors: (N, D) one for each text.
            texts: The N texts, to be given back with hits.
            model: Encodes questions that are texts.
            metric: `cosine`, `dot`, `euclidean` or `manhattan`.

        Raises:
            DataError: There is no vector, one is not of numbers, or texts are more or fewer.
            ConfigError: There is no such metric.
        """
        if metric not in COMPARISONS:
            raise ConfigError(one_of("`metric`", metric, COMPARISONS))
        found = as_vectors(vectors)
        if found.dim() != 2 or not found.numel():
            raise DataError(
                "The corpus needs at least one vector of at least one number, but has the shape "
                f"{tuple(found.shape)}."
            )
        if texts is not None and len(texts) != len(found):
            raise DataError(f"There are {len(found)} vectors, but {len(texts)} texts.")
        self.vectors = F.normalize(found, dim=-1) if metric == "cosine" else found
        self.texts = None if texts is None else list(texts)
        self.model, self.metric = model, metric

    @classmethod
    def build(
        cls,
        model: PretrainedModel,
        texts: Sequence[str],
        *,
        metric: str | None = None,
        **options: Any,
    ) -> "SearchIndex":
        """Encode a corpus once.

        Args:
            model: Encodes the texts, and later the questions; its prompt `document` (or `passage`)
                is put before texts, and `query` before questions, where it has them.
            texts: The texts.
            metric: None takes the one that the model was made for.
            options: As for `encode`.

        Raises:
            DataError: There is no text, or something is none.
        """
        if isinstance(texts, str) or not len(texts):
            raise DataError("The corpus must be a list of at least one text.")
        vectors = encode(model, texts, **_prompted(model, "document", options))
        return cls(vectors, texts, model=model, metric=metric or metric_of(model))

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        count, width = self.vectors.shape
        return f"SearchIndex({count:,} vectors of {width} numbers, {self.metric})"

    def search(
        self, query: Texts | Vectors, *, top_k: int = 10, **options: Any
    ) -> list[Hit] | list[list[Hit]]:
        """Return the nearest texts, the nearest first.

        Args:
            query: A text or a (D,) vector; or several texts or (Q, D) vectors.
            top_k: The most hits for each.
            options: As for `encode`.

        Returns:
            The hits; for several questions a list of hits for each.

        Raises:
            ConfigError: `top_k` is below 1, or a text is given and the index has no model.
            DataError: Widths differ, or a vector is not of numbers.
        """
        if isinstance(query, np.ndarray | Tensor) and not _holds_texts(query):
            vectors = as_vectors(query)
        elif self.model is None:
            raise ConfigError(
                "The index has no model to encode questions. Give vectors, or set `index.model`."
            )
        else:
            asked = _prompted(self.model, "query", options)
            vectors = torch.from_numpy(encode(self.model, query, **asked))  # type: ignore[arg-type]
        scores, places = nearest(
            torch.atleast_2d(vectors), self.vectors, top_k=top_k, metric=self.metric
        )
        hits = [
            [self._hit(place, score) for place, score in zip(line, numbers, strict=True)]
            for line, numbers in zip(places.tolist(), scores.tolist(), strict=True)
        ]
        return hits[0] if vectors.dim() == 1 else hits

    def _hit(self, place: int, score: float) -> Hit:
        return Hit(place, score, None if self.texts is None else self.texts[place])

    # Saving and loading ----------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write vectors and texts; the model is not saved with them.

        Raises:
            CheckpointError: The folder cannot be written, or holds other files.
        """
        import pyarrow as pa

        from abrazo.data.writing import write_arrow

        fields = {"format": _FORMAT, "metric": self.metric, "has_texts": self.texts is not None}
        with atomic_folder(folder) as place:
            save_tensors({"vectors": self.vectors}, place / VECTORS_FILE)
            if self.texts is not None:
                table = pa.table({"text": pa.array(self.texts, pa.large_string())})
                write_arrow(table, place / TEXTS_FILE)
            write_json(place / INDEX_FILE, fields)

    @classmethod
    def load(cls, folder: str | Path, *, model: PretrainedModel | None = None) -> "SearchIndex":
        """Read what `save` wrote.

        Args:
            folder: The folder.
            model: Encodes questions that are texts; the one that encoded the corpus.

        Raises:
            CheckpointError: The folder holds no index, or it is damaged.
        """
        place = Path(folder)
        fields = read_json_object(place / INDEX_FILE)
        if fields.get("format") != _FORMAT or fields.get("metric") not in COMPARISONS:
            raise CheckpointError(f"`{place / INDEX_FILE}` does not describe an index.")
        require_intact(place)
        file = open_tensors(place / VECTORS_FILE)
        if list(file.names) != ["vectors"]:
            raise CheckpointError(f"`{place / VECTORS_FILE}` must hold one tensor, `vectors`.")
        texts = _read_texts(place / TEXTS_FILE) if fields.get("has_texts") else None
        try:
            return cls(file.tensor("vectors"), texts, model=model, metric=fields["metric"])
        except DataError as error:
            raise CheckpointError(f"The index in `{place}` is damaged: {error}") from error


def search(
    query: Texts | Vectors,
    corpus: SearchIndex | Sequence[str] | Vectors,
    *,
    model: PretrainedModel | None = None,
    top_k: int = 10,
    metric: str | None = None,
    **options: Any,
) -> list[Hit] | list[list[Hit]]:
    """Find the texts of a corpus that are nearest to a question.

    Args:
        query: A text or a (D,) vector; or several texts or (Q, D) vectors.
        corpus: Texts, (N, D) vectors, or an index of them, which is encoded only once.
        model: Encodes what is text.
        top_k: The most hits for each question.
        metric: None takes the one that the model was made for, `cosine` without a model.
        options: As for `encode`.

    Returns:
        The hits, the nearest first; for several questions a list of hits for each.

    Raises:
        ConfigError: There is text, but no model; or an option is wrong.
        DataError: The corpus is empty, or widths differ.
    """
    if isinstance(corpus, SearchIndex):
        if model is not None or metric is not None:
            raise ConfigError("An index has its own `model` and `metric`; leave them out.")
        return corpus.search(query, top_k=top_k, **options)
    if isinstance(corpus, np.ndarray | Tensor) and not _holds_texts(corpus):
        chosen = metric or ("cosine" if model is None else metric_of(model))
        index = SearchIndex(corpus, model=model, metric=chosen)
    elif model is None:
        raise ConfigError("Texts can be searched only with a `model` that encodes them.")
    else:
        index = SearchIndex.build(model, corpus, metric=metric, **options)  # type: ignore[arg-type]
    return index.search(query, top_k=top_k, **options)


def nearest(
    queries: Tensor, corpus: Tensor, *, top_k: int, metric: str = "cosine"
) -> tuple[Tensor, Tensor]:
    """Return the vectors of a corpus that are nearest, exactly.

    Args:
        queries: (Q, D) vectors.
        corpus: (N, D) vectors.
        top_k: How many; fewer where the corpus has fewer.
        metric: How vectors are compared.

    Returns:
        (Q, k) similarities, falling, and (Q, k) places in the corpus; of equal ones the first
        comes first.

    Raises:
        ConfigError: `top_k` is below 1, or there is no such metric.
        DataError: Widths differ.
    """
    if top_k < 1:
        raise ConfigError(f"`top_k` must be at least 1, but is {top_k}.")
    count = min(top_k, len(corpus))
    if not len(queries):
        return queries.new_empty(0, count), torch.empty(0, count, dtype=torch.long)
    parts = [_nearest_of(part, corpus, count, metric) for part in queries.split(_QUESTIONS_AT_ONCE)]
    scores, places = (torch.cat(halves) for halves in zip(*parts, strict=True))
    return scores, places


def _nearest_of(queries: Tensor, corpus: Tensor, count: int, metric: str) -> tuple[Tensor, Tensor]:
    size = max(count, _SCORES_AT_ONCE // len(queries))
    best = queries.new_empty(len(queries), 0)
    places = torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(corpus), size):
        found = compare(queries, corpus[start : start + size], metric=metric)
        scores, columns = found.topk(min(count, found.shape[1]))
        best = torch.cat([best, scores], 1)
        places = torch.cat([places, columns + start], 1)
        best, kept = best.topk(min(count, best.shape[1]))
        places = places.gather(1, kept)
    order = places.argsort(1)
    order = order.gather(1, best.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return best.gather(1, order), places.gather(1, order)


def _prompted(model: PretrainedModel, role: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the prompt that the model has for a role, unless one is given."""
    if "prompt" in options or "prompt_name" in options:
        return options
    return {**options, "prompt_name": prompt_name_for(model, role)}


def _holds_texts(values: Vectors) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind not in "fiu"


def _read_texts(path: Path) -> list[str]:
    from abrazo.data.readers.arrow import read_arrow

    try:
        texts: list[str] = read_arrow(path)["text"].to_pylist()
    except (DataError, KeyError) as error:
        raise CheckpointError(f"`{path}` is damaged: {error}") from error
    if not all(isinstance(text, str) for text in texts):
        raise CheckpointError(f"`{path}` must hold texts alone.")
    return texts
