"""The table of families, and classes that pick one by the `model_type` of a `config.json`."""

import importlib
from pathlib import Path
from typing import Any, ClassVar

from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.errors import ConfigError
from abrazo.hub.resolve import find_model
from abrazo.models.base import CONFIG_FILE, PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.sentence_files import MODULES_FILE

FAMILIES: dict[str, str] = {
    "bert": "abrazo.models.bert",
    "roberta": "abrazo.models.roberta",
    "xlm-roberta": "abrazo.models.xlm_roberta",
    "camembert": "abrazo.models.camembert",
    "distilbert": "abrazo.models.distilbert",
    "electra": "abrazo.models.electra",
    "albert": "abrazo.models.albert",
    "mpnet": "abrazo.models.mpnet",
    "modernbert": "abrazo.models.modernbert",
    "deberta-v2": "abrazo.models.deberta_v2",
    "nomic_bert": "abrazo.models.nomic_bert",
    "gte": "abrazo.models.gte",
}
"""The module of each family, by `model_type`; imported when a model of it is asked for."""

SIMILARITY = "similarity"
"""The head that every family can have: it pools, and in most models has no weights."""


def model_class(model_type: str, head: str) -> type[PretrainedModel]:
    """Return the class of a family with a head, or of its bare backbone for `""`.

    Raises:
        ConfigError: There is no such family, or it has no such head; those there are, are listed.
    """
    if model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"Models of the type {model_type!r} are not known, only these: {known}.")
    models: dict[str, type[PretrainedModel]] = importlib.import_module(FAMILIES[model_type]).MODELS
    if head not in models:
        heads = ", ".join(name for name in models if name)
        raise ConfigError(f"{model_type} models have no head {head!r}, only these: {heads}.")
    return models[head]


def load_model(
    name_or_path: str | Path, head: str | None = None, **options: Any
) -> PretrainedModel:
    """Load a model with a head.

    Args:
        name_or_path: A folder, a built-in name, or a repository.
        head: The head wished; None takes the one that the folder's own class has.
        options: As for `PretrainedModel.from_pretrained`.
    """
    where = {name: options[name] for name in _FINDING if name in options}
    folder = find_model(str(name_or_path), **where)
    fields = read_json_object(folder / CONFIG_FILE)
    model_type = str(fields.get("model_type"))
    if head is None:
        head = _head_of(model_type, fields.get("architectures"))
        if not head and (folder / MODULES_FILE).exists():
            head = SIMILARITY
    if head == SIMILARITY:
        from abrazo.models.sentence import SentenceModel  # it is built on this module

        return SentenceModel.from_pretrained(name_or_path, **options)
    return model_class(model_type, head).from_pretrained(name_or_path, **options)


_FINDING = ("revision", "token", "cache_dir", "local_files_only")


def _head_of(model_type: str, architectures: Any) -> str:
    """Return the head of the class a folder names; the name is compared, never imported."""
    model_class(model_type, "")
    models: dict[str, type[PretrainedModel]] = importlib.import_module(FAMILIES[model_type]).MODELS
    names = architectures if isinstance(architectures, list) else []
    return next((head for head, model in models.items() if model.__name__ in names), "")


class AutoConfig:
    """The configuration of any model."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, **options: Any) -> ModelConfig:
        """Load the configuration of a folder, a built-in name, or a repository."""
        folder = find_model(str(name_or_path), **options)
        fields = read_json_object(folder / CONFIG_FILE)
        family = model_class(str(fields.get("model_type")), "").family
        return family.config.from_hf(fields, where=str(folder / CONFIG_FILE))


class AutoModel:
    """The bare backbone of any model."""

    head: ClassVar[str | None] = ""

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load as the family's own class does; see `PretrainedModel.from_pretrained`."""
        return load_model(name_or_path, cls.head, **options)


class AutoModelForSequenceClassification(AutoModel):
    """Any model with a classifier for whole rows."""

    head = "sequence_classification"


class AutoModelForTokenClassification(AutoModel):
    """Any model with a classifier for each token."""

    head = "token_classification"


class AutoModelForQuestionAnswering(AutoModel):
    """Any model that finds answers in a text."""

    head = "question_answering"


class AutoModelForMaskedLM(AutoModel):
    """Any model that guesses masked words."""

    head = "masked_lm"


class AutoModelForNextSentencePrediction(AutoModel):
    """Any model that judges whether the second text follows the first."""

    head = "next_sentence"


class AutoModelForPreTraining(AutoModel):
    """Any model with the heads of its pretraining."""

    head = "pretraining"
