"""Model cards: the `README.md` that tells what a model is, how to use it and how good it is.

The front matter follows the Hugging Face model card specification
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md). What abrazo writes of the text
stands between two marks, the first with a digest, so that a person's own words are never
overwritten.
"""

import dataclasses
import hashlib
import html
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from abrazo.checkpoints.temporary import atomic_file
from abrazo.config import Config
from abrazo.errors import DataError
from abrazo.hub.names import is_repo_name
from abrazo.hub.resolve import BUILT_IN

logger = logging.getLogger("abrazo")

_BEGIN = re.compile(r"<!-- abrazo: written by the program, digest ([0-9a-f]{16}) -->\n")
_END = "<!-- abrazo: end; what you write outside of these marks is kept -->\n"
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)??---[ \t]*(?:\n|\Z)", re.DOTALL)
_MAX_FRONT_MATTER = 64_000
_MAX_CARD_BYTES = 4_000_000

# Keys that a person fills in: once they are in the file, ours give way.
_OF_THE_PERSON = ("license", "language", "tags")

_OURS = (
    *_OF_THE_PERSON,
    "library_name",
    "pipeline_tag",
    "base_model",
    "datasets",
    "metrics",
    "model-index",
)

_PIPELINE_TAGS = {
    "next-sentence-prediction": "text-classification",
    "sentiment-analysis": "text-classification",
    "similarity": "sentence-similarity",
    "embedding": "feature-extraction",
    "translation": "translation",
    "ner": "token-classification",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard(Config):
    """What a model's `README.md` says."""

    name: str
    """The model's name, its title."""
    task: str
    """The task as in `pipeline(task, ...)`."""
    description: str = ""
    """What it is for, in a sentence or two."""
    base_model: str | None = None
    """What it was fine-tuned from: a hub repo, a built-in name or a folder."""
    language: tuple[str, ...] = ()
    """Languages of the texts, as ISO 639 codes such as `en`, `zh`."""
    license: str | None = None
    """A licence id such as `apache-2.0`."""
    datasets: tuple[str, ...] = ()
    """What it was trained on: hub data sets or files, of which only the names are shown."""
    tags: tuple[str, ...] = ()
    """Further words to find it by."""
    path: str | None = None
    """What the example loads: a folder or a repo; the name unless given."""
    example: str = "a text of yours"
    """The text in the example."""
    labels: tuple[str, ...] = ()
    """The labels in the order of their ids."""
    training_data: str = ""
    """What it was trained on, in words: rows, lengths, shares of labels."""
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """The settings of the training run."""
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What the evaluation gave."""
    evaluation_data: str = ""
    """The name of the data that was evaluated."""
    limits: str = ""
    """What it cannot do, or was not tried on."""


@dataclasses.dataclass(frozen=True)
class CardFile:
    """A card as it stands in a file, ours or anyone's."""

    metadata: Mapping[str, Any]
    """The front matter."""
    text: str
    """All that follows."""


def render_card(card: ModelCard) -> str:
    """Return the whole text of a new `README.md`."""
    return _join(_metadata(card), _marked(_body(card)))


def write_card(folder: str | os.PathLike[str], card: ModelCard) -> bool:
    """Write or renew `README.md` in `folder`, and return whether that was done.

    A card that a person wrote, or whose generated part a person changed, is left as it is, which is
    told by a warning in the log. Text around the generated part and keys of the front matter that
    abrazo does not know are kept; so are licence, languages and tags that are there.
    """
    file = Path(folder) / "README.md"
    if file.exists():
        try:
            old = read_card(file)
        except DataError as error:
            logger.warning("%s It is left as it is.", error)
            return False
        around = _around_intact_part(old.text)
        if around is None:
            logger.warning(
                "`%s` was written or changed by a person and is left as it is; delete it to get "
                "a new one.",
                file,
            )
            return False
        kept = {
            key: value
            for key, value in old.metadata.items()
            if key in _OF_THE_PERSON or key not in _OURS
        }
        before, after = around
        text = _join({**_metadata(card), **kept}, before + _marked(_body(card)) + after)
    else:
        text = render_card(card)
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return True


def read_card(path: str | os.PathLike[str]) -> CardFile:
    """Read a `README.md`, or the one in a folder; one without front matter has empty metadata.

    Raises:
        DataError: The file cannot be read or its front matter is no mapping in YAML.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "README.md"
    try:
        if file.stat().st_size > _MAX_CARD_BYTES:
            raise DataError(f"`{file}` must have at most {_MAX_CARD_BYTES:,} bytes to be a card.")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"`{file}` cannot be read as a card: {error}") from error
    match = _FRONT_MATTER.match(text)
    if match is None:
        return CardFile({}, text)
    front = match[1] or ""
    if len(front) > _MAX_FRONT_MATTER:
        raise DataError(f"The front matter of `{file}` is over {_MAX_FRONT_MATTER:,} characters.")
    try:
        metadata = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"The front matter of `{file}` is no YAML: {error}") from error
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise DataError(f"The front matter of `{file}` must map names to values.")
    return CardFile({str(key): value for key, value in metadata.items()}, text[match.end() :])


# The front matter


def _metadata(card: ModelCard) -> dict[str, Any]:
    """Return the front matter of a card, without the keys that would be empty."""
    tag = _PIPELINE_TAGS.get(card.task, card.task)
    base = _base_repo(card.base_model)
    values: dict[str, Any] = {
        "language": list(card.language),
        "license": card.license,
        "library_name": "abrazo",
        "tags": ["abrazo", *card.tags],
        "pipeline_tag": tag,
        "base_model": base,
        "datasets": [name for name in card.datasets if _is_hub_data_set(name)],
        "metrics": list(_numbers(card)),
        "model-index": _model_index(card, tag),
    }
    return {key: value for key, value in values.items() if value}


def _model_index(card: ModelCard, tag: str) -> list[dict[str, Any]]:
    numbers = _numbers(card)
    if not numbers:
        return []
    data = _shown_data(card.evaluation_data) or "evaluation data"
    kind = card.evaluation_data if _is_hub_data_set(card.evaluation_data) else "custom"
    result = {
        "task": {"type": tag, "name": _words(tag)},
        "dataset": {"name": data, "type": kind},
        "metrics": [
            {"type": name, "value": value, "name": _words(name)} for name, value in numbers.items()
        ],
    }
    return [{"name": card.name, "results": [result]}]


def _numbers(card: ModelCard) -> dict[str, float]:
    """Return the metrics that are finite, without the `eval_` of the trainer's names."""
    return {
        name.removeprefix("eval_"): float(f"{value:.6g}")
        for name, value in card.metrics.items()
        if isinstance(value, Real) and math.isfinite(value)
    }


def _base_repo(base_model: str | None) -> str | None:
    """Return the hub repo of a base model; a folder's path is nobody else's business."""
    if base_model in BUILT_IN:
        return BUILT_IN[base_model].repo
    if base_model is None or not is_repo_name(base_model) or Path(base_model).exists():
        return None
    return base_model


def _is_hub_data_set(name: str) -> bool:
    is_file = bool(re.search(r"\.(csv|tsv|jsonl?|parquet|arrow|txt|gz|zst)$", name))
    return is_repo_name(name) and not is_file and not Path(name).exists()


def _shown_data(name: str) -> str:
    """Return a data set's name without the folders of this machine."""
    return name if _is_hub_data_set(name) else name.rstrip("/\\").replace("\\", "/").split("/")[-1]


# The text


def _body(card: ModelCard) -> str:
    parts = [
        f"# {_inline(card.name)}\n\n{_what_it_is(card)}\n",
        _usage(card),
        _labels(card),
        _training(card),
        _evaluation(card),
        f"## Limits\n\n{_limits(card)}\n",
    ]
    return "\n".join(part for part in parts if part)


def _what_it_is(card: ModelCard) -> str:
    base = f", fine-tuned from {_base_in_words(card.base_model)}" if card.base_model else ""
    made = f"A model for {_inline(_words(card.task).lower())}{base}, made with abrazo."
    return f"{_inline(card.description)}\n\n{made}" if card.description else made


def _base_in_words(base_model: str) -> str:
    repo = _base_repo(base_model)
    if repo is None:
        return f"the local model {_code(Path(base_model).name)}"
    return f"[{_inline(repo)}](https://huggingface.co/{repo})"


def _usage(card: ModelCard) -> str:
    path = card.path if card.path is not None else card.name
    lines = [
        "import abrazo as az",
        f"model = az.pipeline({_literal(card.task)}, {_literal(path)})",
        f"print(model({_literal(card.example)}))",
    ]
    return "## Use\n\n```python\n" + "\n".join(lines) + "\n```\n"


def _labels(card: ModelCard) -> str:
    if not card.labels:
        return ""
    rows = [(str(number), label) for number, label in enumerate(card.labels)]
    return "## Labels\n\n" + _table(("id", "label"), rows)


def _training(card: ModelCard) -> str:
    parts = []
    if card.datasets:
        names = ", ".join(_code(_shown_data(name)) for name in card.datasets)
        parts.append(f"Trained on {names}.\n")
    if card.training_data:
        parts.append(f"{_inline(card.training_data)}\n")
    if card.settings:
        rows = [(name, _shown_setting(value)) for name, value in card.settings.items()]
        parts.append(_table(("setting", "value"), rows))
    return "## Training\n\n" + "\n".join(parts) if parts else ""


def _shown_setting(value: object) -> str:
    """Return a setting as text; of a path only the last part."""
    text = str(value)
    if isinstance(value, os.PathLike) or text.startswith(("/", "~", "./", "../")):
        return Path(text).name
    return text


def _evaluation(card: ModelCard) -> str:
    if not card.metrics:
        return ""
    on = f"On {_code(_shown_data(card.evaluation_data))}:\n\n" if card.evaluation_data else ""
    numbers = _numbers(card)
    rows = [(name, f"{value:.4g}") for name, value in numbers.items()]
    missing = [name for name in card.metrics if name.removeprefix("eval_") not in numbers]
    rows += [(name.removeprefix("eval_"), "not a number") for name in missing]
    return f"## Evaluation\n\n{on}" + _table(("metric", "value"), rows)


def _limits(card: ModelCard) -> str:
    if card.limits:
        return _inline(card.limits)
    if card.metrics:
        return (
            "The figures hold for the evaluation data named above. Texts of another kind, length "
            "or language may give other results: evaluate on your own before you rely on it."
        )
    return "Not evaluated yet: try it on texts of your own before you rely on it."


def _words(name: str) -> str:
    return re.sub(r"[-_]+", " ", name).strip().capitalize()


def _inline(text: str) -> str:
    """Return running text that cannot open HTML, a mark of ours or a fence."""
    return html.escape(text, quote=False).replace("```", "'''").strip()


def _code(text: str) -> str:
    clean = re.sub(r"[`\s]+", " ", text.replace("<!--", "")).strip()
    return f"`{clean}`"


def _literal(text: str) -> str:
    """Return a Python string in double quotes on one line, which JSON's strings are too."""
    return json.dumps(text, ensure_ascii=False)


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    def line(cells: tuple[str, str]) -> str:
        clean = [re.sub(r"\s+", " ", _inline(cell)).replace("|", "\\|") for cell in cells]
        return f"| {clean[0]} | {clean[1]} |\n"

    return line(head) + "| --- | --- |\n" + "".join(line(row) for row in rows)


# The file


def _join(metadata: Mapping[str, Any], text: str) -> str:
    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n{text}"


def _marked(body: str) -> str:
    return f"<!-- abrazo: written by the program, digest {_digest(body)} -->\n{body}{_END}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _around_intact_part(text: str) -> tuple[str, str] | None:
    """Return what stands before and after the generated part, or None where it is not intact."""
    begin = _BEGIN.search(text)
    end = text.find(_END, begin.end()) if begin else -1
    if begin is None or end < 0 or _digest(text[begin.end() : end]) != begin[1]:
        return None
    return text[: begin.start()], text[end + len(_END) :]
