"""What every model is: a backbone, perhaps a head, and the way from and to a folder.

    model = BertForSequenceClassification.from_pretrained("my-model")
    output = model(input_ids, attention_mask)      # padded in, padded out
    output = model(packed_batch)                   # packed in, packed out
    model.save_pretrained("my-model")

Shapes: B rows, S padded columns, T tokens of all rows, E hidden width.
"""

import importlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from abrazo.checkpoints.folder import WeightFiles, open_weights, save_weights
from abrazo.checkpoints.jsonfile import read_json_object, write_json
from abrazo.checkpoints.keymap import KeyMap
from abrazo.checkpoints.loading import load_weights, match_weights
from abrazo.errors import ConfigError, DataError, TokenizerError
from abrazo.heads.base import Encoded, Head, Loss
from abrazo.heads.causal_lm import CausalLMHead
from abrazo.heads.outputs import BackboneOutput, ModelOutput
from abrazo.hub.resolve import find_model
from abrazo.layers.cache import Cache
from abrazo.layers.devices import find_device
from abrazo.layers.init import SkipInit, init_weights
from abrazo.layers.lora import adapted_layers, plain_weights
from abrazo.layers.packing import PackedBatch, Padding, pack
from abrazo.models.config import ModelConfig
from abrazo.models.family import Family
from abrazo.models.sentence_files import copy_recipe
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.loading import TOKENIZER_FILE, VOCAB_FILE
from abrazo.tokenization.tokenizer import Tokenizer

logger = logging.getLogger("abrazo")

CONFIG_FILE = "config.json"
ABRAZO_FILE = "abrazo.json"
"""What Hugging Face's format has no place for: the task and how it reads its rows."""
ADAPTER_FOLDER = "adapter"
"""Where LoRA adapters are kept apart, inside a model's folder."""
MAX_SHARD_SIZE = 5_000_000_000
"""Bytes above which weights are split into several files."""


class PretrainedModel(nn.Module):
    """Base of all named models."""

    family: ClassVar[Family]
    """The family, set by each named class."""
    head_name: ClassVar[str] = ""
    """The head, one of `family.heads`; empty for a bare backbone."""

    def __init__(self, config: ModelConfig) -> None:
        """Build with new weights.

        Args:
            config: The family's configuration.

        Raises:
            ConfigError: The configuration is that of another family.
        """
        super().__init__()
        if not isinstance(config, self.family.config):
            raise ConfigError(
                f"{type(self).__name__} takes a {self.family.config.__name__}, "
                f"but was given a {type(config).__name__}."
            )
        self.config = config
        self.backbone = self.family.backbone(config)
        self.head: Head | None = None
        if self.head_name:
            self.head = self.family.heads[self.head_name].build(config)
            if not self.head.needs_pooler:
                self.backbone.pooler = None
        self.task_settings: dict[str, Any] = {}
        """How the task this model was trained for reads its rows; kept in `abrazo.json`."""
        self.source: Path | None = None
        """The folder it was loaded from."""
        self._tokenizer: Tokenizer | None = None
        self._generation_config: Any = None
        self._word_heads: list[Head] = []  # in a list, so that it is no part of the model
        self._tie_weights()
        init_weights(self, config.initializer_range)
        self.backbone.start_weights()

    # The parts, by name ------------------------------------------------------------------

    @property
    def embeddings(self) -> nn.Module:
        """The embeddings of the backbone."""
        return self.backbone.embeddings

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of the backbone."""
        return self.backbone.blocks

    @property
    def pooler(self) -> nn.Module | None:
        """The pooler of the backbone, where it has one."""
        return self.backbone.pooler

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.word_embeddings.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in."""
        return self.backbone.word_embeddings.weight.dtype

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that belongs to the model, read from the model's folder when first asked.

        Raises:
            TokenizerError: The model was not loaded from a folder, and none was set.
        """
        if self._tokenizer is None:
            if self.source is None:
                raise TokenizerError(
                    "This model was built from a configuration and has no tokenizer. "
                    "Set one: `model.tokenizer = BertTokenizer.from_pretrained(...)`, or build the "
                    "model with it: `from_config(config, tokenizer=...)`."
                )
            self._tokenizer = AutoTokenizer.from_pretrained(str(self.source))
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def max_length(self) -> int:
        """The most tokens of a row, special ones included."""
        return self.backbone.max_length

    def num_parameters(self) -> int:
        """Return the number of weights, shared ones counted once."""
        return sum(weight.numel() for weight in self.parameters())

    # Computing -----------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output of token ids as `forward` does, or take raw texts.

        Raw texts, with labels or without, give an output that is computed when it is first read,
        and that serves as a data set; see `abrazo.inference.raw_text.call`.
        """
        if inputs:
            is_raw = not isinstance(inputs[0], (Tensor, PackedBatch))
        else:
            is_raw = "input_ids" not in options and self._names_texts(options)
        if is_raw:
            return _above("inference.raw_text").call(self, *inputs, **options)
        return super().__call__(*inputs, **options)

    def _names_texts(self, options: Mapping[str, Any]) -> bool:
        """Tell whether a call that is all by name gives raw texts, as `texts=...` does."""
        others = options.keys() - inspect.signature(self.forward).parameters.keys()
        return any(not isinstance(options[name], Tensor) for name in others)

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> ModelOutput:
        """Compute the output of a batch, and its loss where there are labels.

        Args:
            input_ids: (B, S) token ids, or a `PackedBatch`, which carries all the rest itself.
            attention_mask: (B, S) with 1 at tokens and 0 at padding; None takes all as tokens.
            token_type_ids: (B, S) segments; None takes all as the first.
            position_ids: (B, S) positions; None counts as the family does.
            labels: What the head learns from; (B, S) where it answers for each token.
            next_sentence_label: (B,) for heads that judge pairs of sentences.
            start_positions: (B,) columns where answers start, for heads that find them.
            end_positions: (B,) columns where answers end; both together stand for `labels`.
            output_hidden_states: Whether to return the vectors after each block.
            output_attentions: Whether to return the attention weights of each block.

        Raises:
            DataError: Shapes do not fit, a row is empty or too long, or an id is out of range.
        """
        padding: Padding | None = None
        if isinstance(input_ids, PackedBatch):
            batch = input_ids
        else:
            batch, padding = pack(input_ids, attention_mask, token_type_ids)
            if position_ids is not None:
                batch.position_ids = padding.pack(position_ids.expand(padding.shape))
            elif not self.backbone.counts_columns:
                batch.position_ids = None
            if start_positions is not None and end_positions is not None:
                places = (start_positions.reshape(-1), end_positions.reshape(-1))
                labels = torch.stack(places, -1)  # (B, 2)
            if labels is not None and self.head is not None:
                batch.labels = self.head.pack_labels(labels, padding)
            batch.next_sentence_label = next_sentence_label
        return self.output_of(
            batch,
            padding,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )[0]

    def output_of(
        self,
        batch: PackedBatch,
        padding: Padding | None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> tuple[ModelOutput, Loss | None]:
        """Compute the output of a packed batch, and its loss as a sum and a count.

        Args:
            batch: The batch.
            padding: Where the output's tokens stand in a padded one; None leaves them packed.
            output_hidden_states: As in `forward`.
            output_attentions: As in `forward`.
        """
        hidden_states: list[Tensor] | None = [] if output_hidden_states else None
        attentions: list[list[Tensor]] | None = [] if output_attentions else None
        hidden, pooled = self.backbone(batch, hidden_states, attentions)
        extras = _extras(hidden_states, attentions, padding)
        if self.head is None:
            shown = hidden if padding is None else padding.pad(hidden)
            output = BackboneOutput(last_hidden_state=shown, pooler_output=pooled, **extras)
            return output.scored_by(lambda: self._score_words(hidden, batch, padding)), None
        answers = self.head(Encoded(hidden, pooled, batch, is_packed_call=padding is None))
        loss = self.head.loss(answers, batch)
        if padding is not None:
            answers = {
                name: padding.pad(value) if self.head.answers_tokens(name) else value
                for name, value in answers.items()
            }
        mean = None if loss is None else loss.mean
        return self.head.output(loss=mean, **answers, **extras), loss  # type: ignore[call-arg]

    def _score_words(self, hidden: Tensor, batch: PackedBatch, padding: Padding | None) -> Tensor:
        """Score words with the head that the checkpoint has beside this bare backbone.

        Raises:
            AttributeError: It has none.
        """
        from abrazo.models.sharing import with_head  # it is built on this module

        if not self._word_heads:
            other = with_head(self, "masked_lm", is_known=True)
            if other is None or other.head is None:
                raise AttributeError(
                    f"This output has no `logits`: {type(self).__name__} is a bare backbone, and "
                    "its checkpoint has no head for words. Load a model with a head, such as "
                    "BertForMaskedLM."
                )
            self._word_heads.append(other.head)
        scores: Tensor = self._word_heads[0].to(hidden.device)(Encoded(hidden, None, batch))[
            "logits"
        ]
        return scores if padding is None else padding.pad(scores)

    def compute_loss(self, batch: PackedBatch) -> tuple[Loss, dict[str, Tensor]]:
        """Return the loss of a packed batch as a sum and a count, and the head's tensors.

        Raises:
            DataError: The model has no head, or the batch has no labels.
        """
        answers = self.answer_packed(batch)
        assert self.head is not None
        loss = self.head.loss(answers, batch)
        if loss is None:
            raise DataError("The batch has no labels, so there is no loss.")
        return loss, answers

    def answer_packed(self, batch: PackedBatch) -> dict[str, Tensor]:
        """Return the head's tensors of a packed batch, by name.

        Raises:
            DataError: The model has no head.
        """
        if self.head is None:
            raise DataError(f"{type(self).__name__} has no head to train or to ask.")
        hidden, pooled = self.backbone(batch)
        answers: dict[str, Tensor] = self.head(Encoded(hidden, pooled, batch))
        return answers

    def new_cache(self, limit: int | None = None) -> Cache:
        """Return an empty cache, in which rows that are gone on with keep what they hold.

        Args:
            limit: The most tokens of a row; None sets no limit.

        Raises:
            ConfigError: The model does not go on word by word.
        """
        return self.backbone.new_cache(limit)

    def set_labels(self, labels: Sequence[str]) -> None:
        """Name the classes of the head.

        Raises:
            ConfigError: There are more or fewer labels than the head has classes.
        """
        if len(labels) != self.config.num_labels:
            raise ConfigError(
                f"The model has {self.config.num_labels} classes, but {len(labels)} labels are "
                f"given. Load it with `num_labels={len(labels)}`."
            )
        self.config = self.config.with_labels(labels)

    # Texts as vectors ----------------------------------------------------------------------

    def encode(self, texts: str | Sequence[str], **options: Any) -> Any:
        """Turn texts into vectors of their meaning; see `abrazo.inference.embedding.encode`.

        Args:
            texts: One text, or several.
            options: As of that function, such as `prompt_name` and `precision`.

        Returns:
            (N, width) fp32 vectors, or (width,) for a single text.
        """
        return _above("inference.embedding").encode(self, texts, **options)

    def similarity(self, first: Any, second: Any, **options: Any) -> Any:
        """Compare texts or vectors; see `abrazo.inference.embedding.similarity`.

        Args:
            first: N texts or (N, width) vectors; or one of them.
            second: M texts or (M, width) vectors; or one of them.
            options: As of that function, such as `metric`.

        Returns:
            (N, M) similarities, without the axes of single texts.
        """
        return _above("inference.embedding").similarity(self, first, second, **options)

    # Writing texts -------------------------------------------------------------------------

    @property
    def generation_config(self) -> Any:
        """The options of `generate`, a `GenerationConfig`, read when first asked for.

        Raises:
            CheckpointError: The folder's `generation_config.json` is damaged.
            ConfigError: It has an option of the wrong type or value.
        """
        if self._generation_config is None:
            fields = {**self.config.extra, **self.config.to_dict()}
            kind = _above("generation.config").GenerationConfig
            self._generation_config = kind.of_model(self.source, fields)
        return self._generation_config

    @generation_config.setter
    def generation_config(self, config: Any) -> None:
        self._generation_config = config

    def generate(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Write texts word by word; see `abrazo.generation.generate.generate`.

        Args:
            input_ids: (B, S) prompts, or what the encoder reads in models that have one.
            attention_mask: (B, S) with 1 at tokens and 0 at padding.
            options: As of that function: `streamer`, `generation_config`, and the fields of
                `GenerationConfig`, such as `max_new_tokens`, `num_beams` and `do_sample`.

        Returns:
            (B * num_return_sequences, columns) ids, padded on the right.
        """
        written: Tensor = _above("generation.generate").generate(
            self, input_ids, attention_mask, **options
        )
        return written

    # Beginning anew, loading and saving --------------------------------------------------

    @classmethod
    def from_config(cls, config: ModelConfig, *, tokenizer: Tokenizer | None = None) -> Self:
        """Build with new weights, and for a tokenizer where one is given.

        Args:
            config: The family's configuration.
            tokenizer: Becomes the model's; the size of the vocabulary and the ids of special tokens
                are taken from it, whatever the configuration says.

        Raises:
            ConfigError: The configuration is that of another family, or has no place for an id.
        """
        if tokenizer is None:
            return cls(config)
        model = cls(config.for_tokenizer(tokenizer))
        model.tokenizer = tokenizer
        return model

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        config: ModelConfig | None = None,
        labels: Sequence[str] | None = None,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        **overrides: Any,
    ) -> Self:
        """Load a model from a folder, the local cache or a hub.

        Args:
            name_or_path: A folder, a built-in name such as `minilm`, or a repository.
            config: Used instead of the folder's own.
            labels: Names of the classes; a head of another size starts new.
            revision: Branch, tag or commit of the repository.
            token: Key for a private repository.
            cache_dir: Where downloads are kept.
            local_files_only: Never ask a hub.
            dtype: What the weights are stored and computed in.
            device: Where the weights go.
            overrides: Fields of the configuration to change, such as `num_labels=3`.

        Raises:
            HubError: The name leads to no folder.
            ConfigError: The configuration is not one of this family, a field is wrong, or the
                device is not there.
            CheckpointError: The weights are damaged or do not fit; every tensor is listed.
        """
        place = find_device(device)
        folder = find_model(
            str(name_or_path),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        stored = read_config(folder, cls.family)
        config = config or stored
        if labels is not None:
            require_labels(labels, overrides.pop("num_labels", None))
            overrides["id2label"] = dict(enumerate(labels))
        if overrides:
            config = config.replace(**overrides)
        starts_new = labels_differ(config, stored)
        weights = open_weights(folder)
        config = cls.config_for(config, weights)
        with torch.device("meta"), SkipInit():
            model = cls(config)
        if model.head is None and not any("pooler." in name for name in weights.names()):
            model.backbone.pooler = None  # a bare backbone is what its files hold, no more
        match = match_weights(
            model,
            weights,
            model.key_map(),
            cls.family.expectations("backbone.pooler", "head"),
            start_new=("head",) if starts_new else (),
        )
        model = model.to(dtype)._with_memory(place, is_new="head" in match.new_parts)
        model._tie_weights()
        for part in match.new_parts:
            init_weights(model.get_submodule(part), config.initializer_range)
            logger.warning(
                "%s: `%s` is not in `%s` and starts new; train before use.",
                cls.__name__,
                part,
                name_or_path,
            )
        match.fill(model)  # last, because a new head may share weights that the files have
        model.source = folder
        if (folder / ABRAZO_FILE).exists() and "head" not in match.new_parts:
            model.task_settings = read_json_object(folder / ABRAZO_FILE)
        return model.eval()

    def _with_memory(self, place: torch.device, *, is_new: bool) -> Self:
        """Return a model on the meta device as one with memory, which is empty but for two things.

        Buffers, which no file holds, and a head that starts new have the values they begin with.
        """
        if not is_new and next(self.buffers(), None) is None:
            return self.to_empty(device=place)
        with SkipInit():
            built = type(self)(self.config)
        if self.pooler is None:
            built.backbone.pooler = None
        return built.to(place, self.dtype)

    @classmethod
    def config_for(cls, config: ModelConfig, weights: WeightFiles) -> ModelConfig:
        """Return the configuration as the files have it, where these say more than it does."""
        return config

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int = MAX_SHARD_SIZE) -> None:
        """Write the model and its tokenizer so that abrazo and `transformers` load them.

        LoRA adapters are put into the weights, and kept apart beside them in `adapter/`.

        Args:
            folder: Made when absent; files of a model already there are replaced.
            max_shard_size: Bytes above which the weights are split into several files.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        tokenizer = self.tokenizer if self._has_tokenizer() else None
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        weights = self.key_map().to_hf(plain_weights(self))
        save_weights(weights, target, max_shard_size=max_shard_size)
        dtype = str(self.dtype).removeprefix("torch.")
        fields = {"architectures": [type(self).__name__], **self.config.to_hf(), "dtype": dtype}
        write_json(target / CONFIG_FILE, fields)
        if self.task_settings:
            write_json(target / ABRAZO_FILE, self.task_settings)
        else:
            (target / ABRAZO_FILE).unlink(missing_ok=True)
        if tokenizer is not None:
            tokenizer.save_pretrained(target)
        if isinstance(self.head, CausalLMHead):
            self.generation_config.save(target)
        if adapted_layers(self):
            _above("models.adapters").save_adapter(self, target / ADAPTER_FOLDER)
        if not self.head_name and self.source is not None:
            copy_recipe(self.source, target, self.config.width)

    def _has_tokenizer(self) -> bool:
        """Tell whether there is a tokenizer; a folder may hold a model alone."""
        if self._tokenizer is not None or self.source is None:
            return self._tokenizer is not None
        return any((self.source / name).exists() for name in (TOKENIZER_FILE, VOCAB_FILE))

    def load_weights(self, folder: str | Path) -> None:
        """Take the weights of a folder with a model like this one.

        A model with LoRA adapters takes those of `adapter/`, and keeps the weights under them.

        Raises:
            CheckpointError: They are damaged, or those of another model.
        """
        if adapted_layers(self):
            _above("models.adapters").load_adapted_weights(self, Path(folder))
            return
        load_weights(self, open_weights(folder), self.key_map(), self.family.expectations())

    def key_map(self) -> KeyMap:
        """Return the two-way table of this model's tensor names."""
        return self.family.key_map(self.config, self.head_name)

    def _tie_weights(self) -> None:
        if self.head is not None and self.config.tie_word_embeddings:
            self.head.tie(self.backbone.word_embeddings)


def _above(name: str) -> Any:
    """Return a module of this package that is built on models, and so is not known up here."""
    return importlib.import_module(f"abrazo.{name}")


def read_config(folder: Path, family: Family) -> ModelConfig:
    """Read the `config.json` of a model folder.

    Raises:
        CheckpointError: The file is absent or damaged.
        ConfigError: It describes another family, or a field is wrong.
    """
    fields = read_json_object(folder / CONFIG_FILE)
    given = fields.get("model_type")
    if given != family.name:
        raise ConfigError(
            f"`{folder / CONFIG_FILE}` describes a model of the type {given!r}, not "
            f"{family.name!r}. `AutoModel` picks the class by the type."
        )
    return family.config.from_hf(fields, where=str(folder / CONFIG_FILE))


def require_labels(labels: Sequence[str], count: object = None) -> None:
    """Check the names that a user gives to classes.

    Args:
        labels: The names.
        count: How many the user says there are, where that is said too.

    Raises:
        ConfigError: They are no list of different texts, or more or fewer than said.
    """
    names = None if isinstance(labels, str) else list(labels)
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            "`labels` must be a list of texts, one for each class, such as "
            f'`["negative", "positive"]`, but is {labels!r:.80}.'
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"`labels` must not name a label twice, but is {names!r:.80}.")
    if count not in (None, len(names)):
        raise ConfigError(
            f"`num_labels` is {count!r:.80}, but `labels` names {len(names)}. Leave `num_labels` "
            "out."
        )


def labels_differ(wanted: ModelConfig, stored: ModelConfig) -> bool:
    """Tell whether a head learned for the stored labels is of no use for the wanted ones."""
    if wanted.num_labels != stored.num_labels:
        return True
    return stored.has_named_labels and wanted.labels != stored.labels


def _extras(
    hidden_states: list[Tensor] | None,
    attentions: list[list[Tensor]] | None,
    padding: Padding | None,
) -> dict[str, tuple[Tensor, ...] | None]:
    """Return `hidden_states` and `attentions` as the caller gets them.

    Raises:
        DataError: Attention weights are asked for in a packed call, which has no rectangle.
    """
    if padding is None:
        if attentions is not None:
            raise DataError("`output_attentions` needs padded `input_ids`, not a packed batch.")
        return {"hidden_states": None if hidden_states is None else tuple(hidden_states)}
    return {
        "hidden_states": None if hidden_states is None else tuple(map(padding.pad, hidden_states)),
        "attentions": None if attentions is None else tuple(map(padding.pad_pairs, attentions)),
    }
