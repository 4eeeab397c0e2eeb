"""The table of families, and classes that pick one by the `model_type` of a `config.json`."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.errors import ConfigError
from abrazo.hub.resolve import find_model
from abrazo.models.base import ABRAZO_FILE, CONFIG_FILE, PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.family import HeadPlan
from abrazo.models.own import own_class
from abrazo.models.sentence_files import MODULES_FILE
from abrazo.own_code import load_class
from abrazo.tokenization.tokenizer import Tokenizer

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
    "t5": "abrazo.models.t5",
    "mt5": "abrazo.models.mt5",
    "bart": "abrazo.models.bart",
    "mbart": "abrazo.models.mbart",
    "marian": "abrazo.models.marian",
    "pegasus": "abrazo.models.pegasus",
    "m2m_100": "abrazo.models.m2m_100",
    "encoder-decoder": "abrazo.models.encoder_decoder",
    "gpt2": "abrazo.models.gpt2",
    "gpt_neox": "abrazo.models.gpt_neox",
    "llama": "abrazo.models.llama",
    "mistral": "abrazo.models.mistral",
    "qwen2": "abrazo.models.qwen2",
    "qwen3": "abrazo.models.qwen3",
    "gemma": "abrazo.models.gemma",
    "gemma2": "abrazo.models.gemma2",
    "gemma3_text": "abrazo.models.gemma3",
}
"""The module of each family, by `model_type`; imported when a model of it is asked for."""

SIMILARITY = "similarity"
"""The head that every family can have: it pools, and in most models has no weights."""


def model_class(model_type: str, head: str) -> type[PretrainedModel]:
    """Return the class of a family with a head, or of its bare backbone for `""`.

    Raises:
        ConfigError: There is no such family, or it has no such head; those there are, are listed.
    """
    return _with_head(_models_of(model_type), head)


def class_with_head(model: PretrainedModel, head: str) -> type[PretrainedModel]:
    """Return the class of a model's family with a head, also where the family is a user's own.

    Raises:
        ConfigError: The family has no such head.
    """
    from abrazo.models.sentence import SentenceModel  # it is built on this module

    kind = model.bare_class if isinstance(model, SentenceModel) else type(model)
    if kind.head_name != head and model.family.name in FAMILIES:
        return model_class(model.family.name, head)
    return own_class(kind, head)


def load_model(
    name_or_path: str | Path,
    head: str | None = None,
    *,
    plan: HeadPlan | None = None,
    model_class: type[PretrainedModel] | str | None = None,
    part: str | None = None,
    **options: Any,
) -> PretrainedModel:
    """Load a model with a head.

    Args:
        name_or_path: A folder, a built-in name, or a repository.
        head: The head wished; None takes the one that the folder's own class has.
        plan: How that head is built, where families do not have it.
        model_class: A class of a family of your own, or `my_file.py:MyModel`; the head wished goes
            before the one it has.
        part: Which task of a model that has several; unless given, the one with the head wished.
        options: As for `PretrainedModel.from_pretrained`.

    Raises:
        ConfigError: The family or the head is not known, or is not what the folder holds.
        HubError: The name leads to no folder.
        CheckpointError: The weights are damaged or do not fit; every tensor is listed.
    """
    where = {name: options[name] for name in _FINDING if name in options}
    folder = find_model(str(name_or_path), **where)
    fields = read_json_object(folder / CONFIG_FILE)
    if part is not None and not is_multi_task(fields):
        raise ConfigError(f"`part` is {part!r:.80}, but `{folder}` holds a model of one task.")
    if is_multi_task(fields) and head not in ("", SIMILARITY) and not set(options) - _LOADING:
        from abrazo.models.multi_task import MultiTaskModel  # it is built on this module

        several = MultiTaskModel.from_pretrained(name_or_path, **options)
        return several if head is None and part is None else several.part_for(head, part)
    if model_class is not None:
        model_class = load_class(model_class, PretrainedModel)
    if model_class is None:
        model_type = str(fields.get("model_type"))
        models = _models_of(model_type)
    else:
        models = {name: own_class(model_class, name) for name in ("", *model_class.family.heads)}
        models[model_class.head_name] = model_class
    if head is None:
        head = _head_of(folder, models, fields.get("architectures"))
        if not head and (folder / MODULES_FILE).exists():
            head = SIMILARITY
    if head == SIMILARITY:
        from abrazo.models.sentence import SentenceModel  # it is built on this module

        return SentenceModel(models[""].from_pretrained(name_or_path, **options)).eval()
    if plan is not None and head not in models:
        models = {**models, head: own_class(models[""], head, plan)}
    return _with_head(models, head).from_pretrained(name_or_path, **options)


def load_to_write(name_or_path: str | Path, **options: Any) -> PretrainedModel:
    """Load a model that writes, in the way that the checkpoint knows.

    One that guesses masked words, and has not learned to read from left to right, fills masks.

    Args:
        name_or_path: A folder, a built-in name, or a repository.
        options: As for `load_model`.

    Raises:
        ConfigError: The family is not known, or has no head that writes.
        HubError: The name leads to no folder.
        CheckpointError: The weights are damaged or do not fit; every tensor is listed.
    """
    where = {name: options[name] for name in _FINDING if name in options}
    fields = read_json_object(find_model(str(name_or_path), **where) / CONFIG_FILE)
    head = AutoModelForCausalLM.head
    if options.get("model_class") is None and not is_multi_task(fields):
        given = getattr(options.get("config"), "is_decoder", fields.get("is_decoder"))
        is_decoder = options.get("is_decoder", given)
        if not is_decoder and "masked_lm" in _models_of(str(fields.get("model_type"))):
            head = "masked_lm"
    return load_model(name_or_path, head, **options)


_FINDING = ("revision", "token", "cache_dir", "local_files_only")
_LOADING = {*_FINDING, "dtype", "device"}
"""Options that leave a model's head as it is in its folder."""


def is_multi_task(fields: Mapping[str, Any]) -> bool:
    """Tell whether a `config.json` is that of a model of several tasks."""
    return fields.get("architectures") == ["MultiTaskModel"]


def _models_of(model_type: str) -> dict[str, type[PretrainedModel]]:
    """Return the classes of a family by their heads.

    Raises:
        ConfigError: There is no such family.
    """
    if model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(
            f"Models of the type {model_type!r} are not known, only these: {known}. For a family "
            "of your own give its class as `model_class`, or where that is: "
            '`model_class="my_file.py:MyModel"`.'
        )
    models: dict[str, type[PretrainedModel]] = importlib.import_module(FAMILIES[model_type]).MODELS
    return models


def _with_head(models: Mapping[str, type[PretrainedModel]], head: str) -> type[PretrainedModel]:
    if head not in models:
        heads = ", ".join(name for name in models if name)
        raise ConfigError(
            f"{models[''].family.name} models have no head {head!r}, only these: {heads}. A task "
            "of your own brings one in its `head_plan`."
        )
    return models[head]


def _head_of(folder: Path, models: Mapping[str, type[PretrainedModel]], architectures: Any) -> str:
    """Return the head of the class a folder names; the name is compared, never imported.

    Raises:
        ConfigError: The folder was trained for a task, with a head that is none of the family's.
    """
    names = architectures if isinstance(architectures, list) else []
    for head, model in models.items():
        if model.__name__ in names:
            return head
    if names and (folder / ABRAZO_FILE).exists():
        task = read_json_object(folder / ABRAZO_FILE).get("task")
        raise ConfigError(
            f"`{folder}` holds a {names[0]!s:.80}, which was trained for the task {task!r:.80} "
            "with a head of its own. Models never name code, so give the class of the task each "
            "time: `task=MyTask`, or on the command line `--task my_file.py:MyTask`."
        )
    return ""


class AutoConfig:
    """The configuration of any model."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, **options: Any) -> ModelConfig:
        """Load the configuration of a folder, a built-in name, or a repository."""
        folder = find_model(str(name_or_path), **options)
        fields = read_json_object(folder / CONFIG_FILE)
        family = _models_of(str(fields.get("model_type")))[""].family
        return family.config.from_hf(fields, where=str(folder / CONFIG_FILE))


class AutoModel:
    """The bare backbone of any model."""

    head: ClassVar[str | None] = ""

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load as the family's own class does; see `PretrainedModel.from_pretrained`."""
        return load_model(name_or_path, cls.head, **options)

    @classmethod
    def from_config(
        cls, config: ModelConfig, *, tokenizer: Tokenizer | None = None
    ) -> PretrainedModel:
        """Build the class of the configuration's family; see `PretrainedModel.from_config`."""
        if not isinstance(config, ModelConfig):
            raise ConfigError(
                f"A model is built from a configuration, such as `BertConfig()`, not from "
                f"{config!r:.80}."
            )
        kind = model_class(config.model_type, cls.head or "")
        return kind.from_config(config, tokenizer=tokenizer)


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


class AutoModelForCausalLM(AutoModel):
    """Any model that guesses the next word."""

    head: ClassVar[str] = "causal_lm"


class BertLM(AutoModelForCausalLM):
    """BERT, or one of its kin, that writes.

    Checkpoints that have learned to read from left to right go on word by word. Those that guess
    masked words alone write by filling masks; a call with `is_decoder=True` loads one of them to
    learn the other. New ones read from left to right.
    """

    def __new__(cls, config: ModelConfig) -> PretrainedModel:  # type: ignore[misc]
        """Build a model with new weights."""
        return cls.from_config(config)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> PretrainedModel:
        """Load the class that the checkpoint is; see `PretrainedModel.from_pretrained`."""
        return load_to_write(name_or_path, **options)


class AutoModelForNextSentencePrediction(AutoModel):
    """Any model that judges whether the second text follows the first."""

    head = "next_sentence"


class AutoModelForPreTraining(AutoModel):
    """Any model with the heads of its pretraining."""

    head = "pretraining"


class AutoModelForSeq2SeqLM(AutoModel):
    """Any encoder-decoder that writes a text for a text."""

    head = "seq2seq_lm"


class TranslationModel(AutoModelForSeq2SeqLM):
    """Any model that translates: Marian, mBART, M2M-100, T5, whatever the checkpoint is."""
