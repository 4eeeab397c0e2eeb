"""An encoder-decoder of two encoders, one of which learns to write.

Rothe et al. 2019, https://arxiv.org/abs/1907.12461. What sets it apart: both sides start from
checkpoints such as BERT; the second becomes a decoder by causal attention, and by cross-attention
that starts new. Files are those of `EncoderDecoderModel` in `transformers`.
"""

import dataclasses
import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.checkpoints.keymap import Row
from abrazo.errors import ConfigError, one_of
from abrazo.heads.causal_lm import Seq2SeqLMHead
from abrazo.hub.resolve import find_model
from abrazo.layers.cross_attention import CrossAttention
from abrazo.layers.decoder_blocks import PostNormDecoderBlock
from abrazo.layers.embeddings import Embeddings
from abrazo.layers.linear import Linear
from abrazo.models.auto import AutoModel, load_model, model_class
from abrazo.models.base import CONFIG_FILE, PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.encoder import EncoderConfig
from abrazo.models.family import Family, HeadPlan
from abrazo.models.seq2seq import CrossDecoder, Seq2SeqBackbone, Seq2SeqConfig
from abrazo.models.seq2seq_model import Seq2SeqModel
from abrazo.tokenization.tokenizer import Tokenizer

logger = logging.getLogger("abrazo")

_DECODERS = ("bert", "roberta", "xlm-roberta", "camembert")
"""Families that can be decoders: post-norm blocks that files know with cross-attention too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(Seq2SeqConfig):
    """The configurations of both sides; the defaults are two bert-base-uncased."""

    model_type: ClassVar[str] = "encoder-decoder"

    encoder: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"model_type": "bert"})
    """The `config.json` of the encoder."""
    decoder: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"model_type": "bert"})
    """The `config.json` of the decoder."""
    pad_token_id: int | None = None
    """The id that pads rows of the decoder; None takes the decoder's own."""
    eos_token_id: int | list[int] | None = None
    """The id that ends texts, or several."""
    decoder_start_token_id: int | None = None
    """The id that the decoder reads first."""

    def __post_init__(self) -> None:
        """Settle what the sides say, and check every field."""
        if not self.wrong_types():
            decoder = {**self.decoder, "is_decoder": True, "add_cross_attention": True}
            own = _read_side("decoder", decoder, [])
            settled: dict[str, Any] = {"decoder": decoder}
            if own is not None:
                settled["vocab_size"] = own.vocab_size  # type: ignore[attr-defined]
                settled["tie_word_embeddings"] = own.tie_word_embeddings
                if self.pad_token_id is None:
                    settled["pad_token_id"] = own.pad_token_id  # type: ignore[attr-defined]
            for name, value in settled.items():
                object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def width(self) -> int:
        """The width of what the encoder makes of a token."""
        return self.encoder_config.width

    @cached_property
    def encoder_config(self) -> ModelConfig:
        """The configuration of the encoder."""
        config = _read_side("encoder", self.encoder, [])
        assert config is not None
        return config

    @cached_property
    def decoder_config(self) -> EncoderConfig:
        """The configuration of the decoder."""
        config = _read_side("decoder", self.decoder, [])
        assert isinstance(config, EncoderConfig)
        return config

    def for_tokenizer(self, tokenizer: Tokenizer) -> Self:
        """Return a copy whose sides are both for the pieces of a tokenizer."""
        changed = super().for_tokenizer(tokenizer)
        start = changed.decoder_start_token_id
        return changed.replace(
            encoder=self.encoder_config.for_tokenizer(tokenizer).to_hf(),
            decoder=self.decoder_config.for_tokenizer(tokenizer).to_hf(),
            decoder_start_token_id=tokenizer.cls_token_id if start is None else start,
        )

    def _wrong_values(self) -> list[str]:
        problems = super()._wrong_values()
        for side, values in (("encoder", self.encoder), ("decoder", self.decoder)):
            _read_side(side, values, problems)
        if self.decoder.get("cross_attention_hidden_size") is not None:
            problems.append("`decoder.cross_attention_hidden_size` must be None.")
        return problems


def _read_side(side: str, values: Mapping[str, Any], problems: list[str]) -> ModelConfig | None:
    """Return the configuration of one side, or None after adding what is wrong with it."""
    model_type = str(values.get("model_type"))
    try:
        if side == "decoder" and model_type not in _DECODERS:
            raise ConfigError(one_of("`decoder.model_type`", model_type, _DECODERS))
        if "masked_lm" not in _family(values).heads:
            raise ConfigError(f"`encoder.model_type` {model_type!r} is no encoder.")
        return _family(values).config.from_hf(values, where=f"{CONFIG_FILE}: {side}")
    except ConfigError as error:
        problems.append(str(error))
        return None


def _family(values: Mapping[str, Any]) -> Family:
    return model_class(str(values.get("model_type")), "").family


class EncoderAsDecoder(CrossDecoder):
    """An encoder whose tokens see nothing that follows them, but all of a source."""

    embeddings: Embeddings

    def __init__(self, family: Family, config: EncoderConfig) -> None:
        """Take an encoder's embeddings and blocks, and add cross-attention."""
        super().__init__()
        stack = family.backbone(config)
        assert isinstance(stack.embeddings, Embeddings)
        self.counts_columns = stack.counts_columns  # type: ignore[misc]
        self.embeddings = stack.embeddings
        self.first_position = stack.embeddings.first_position
        self.blocks = nn.ModuleList(
            PostNormDecoderBlock(
                block.get_submodule("attention"),  # type: ignore[arg-type]
                CrossAttention(
                    config.hidden_size,
                    config.num_attention_heads,
                    config.attention_probs_dropout_prob,
                ),
                block.get_submodule("feedforward"),
                width=config.hidden_size,
                dropout=config.hidden_dropout_prob,
                norm_eps=config.layer_norm_eps,
            )
            for block in stack.blocks
        )


def _backbone(config: EncoderDecoderConfig) -> Seq2SeqBackbone:
    encoder = _family(config.encoder).backbone(config.encoder_config)
    encoder.pooler = None
    decoder = EncoderAsDecoder(_family(config.decoder), config.decoder_config)
    widths = config.encoder_config.width, config.decoder_config.hidden_size
    return Seq2SeqBackbone(encoder, decoder, None if widths[0] == widths[1] else Linear(*widths))


def _rows(config: EncoderDecoderConfig) -> tuple[Row, ...]:
    first, second = _family(config.encoder), _family(config.decoder)
    across = "encoder.layer.{i}.crossattention."
    attention = across + "self."
    decoder = (
        *second.backbone_rows(config.decoder_config),
        Row("blocks.{i}.cross_attention.query", attention + "query"),
        Row("blocks.{i}.cross_attention.key_value", attention + "key", attention + "value"),
        Row("blocks.{i}.cross_attention.output", across + "output.dense"),
        Row("blocks.{i}.cross_norm", across + "output.LayerNorm"),
    )
    return (
        *(row.under("encoder.", "encoder.") for row in first.backbone_rows(config.encoder_config)),
        *(row.under("decoder.", f"decoder.{second.prefix}") for row in decoder),
        Row("projection", "enc_to_dec_proj"),
    )


def _head(config: EncoderDecoderConfig) -> Seq2SeqLMHead:
    """Return the head for masked words of the decoder's family, which guesses the next one here."""
    own = config.decoder_config
    plain = _family(config.decoder).heads["masked_lm"].build(own)
    transform = plain.get_submodule("transform")
    return Seq2SeqLMHead(own.hidden_size, own.vocab_size, bias=True, transform=transform)


def _head_rows(config: EncoderDecoderConfig) -> tuple[Row, ...]:
    rows = _family(config.decoder).head_rows(config.decoder_config, "masked_lm")
    return tuple(row.under("", "decoder.") for row in rows)


FAMILY = Family(
    config=EncoderDecoderConfig,
    backbone=_backbone,
    rows=_rows,
    prefix="",
    heads={"seq2seq_lm": HeadPlan(_head, _head_rows)},
    elsewhere=(
        *("encoder.pooler.", "encoder.embeddings.position_ids"),
        *(f"decoder.{name}embeddings.position_ids" for name in ("bert.", "roberta.")),
        *("decoder.cls.", "decoder.lm_head."),  # what is tied
    ),
)


class EncoderDecoderModel(Seq2SeqModel):
    """Two encoders, of which one writes a text for what the other reads."""

    family = FAMILY
    head_name = "seq2seq_lm"

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder: str | Path,
        decoder: str | Path | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        decoder_start_token_id: int | None = None,
        eos_token_id: int | None = None,
        **options: Any,
    ) -> Self:
        """Join two checkpoints; cross-attention, which neither has, starts new.

        Args:
            encoder: A folder, a built-in name, or a repository.
            decoder: Another one, of BERT's or RoBERTa's family; None takes the same.
            dtype: What the weights are stored and computed in.
            device: Where the weights go.
            decoder_start_token_id: The id that the decoder reads first; None asks the tokenizer
                how texts begin.
            eos_token_id: The id that ends texts; None asks the tokenizer.
            options: Further ones of `from_pretrained` that say where checkpoints are.

        Raises:
            HubError: A name leads to no folder.
            ConfigError: A checkpoint is not one of these families.
            CheckpointError: The weights are damaged or do not fit; every tensor is listed.
        """
        second = decoder or encoder
        reader = AutoModel.from_pretrained(encoder, **options)
        writer = load_model(second, "masked_lm", **options)
        tokenizer = writer.tokenizer if writer._has_tokenizer() else None
        if tokenizer is not None and decoder_start_token_id is None:
            decoder_start_token_id = tokenizer.cls_token_id
        if tokenizer is not None and eos_token_id is None:
            eos_token_id = tokenizer.sep_token_id
        config = EncoderDecoderConfig(
            encoder=reader.config.to_hf(),
            decoder=writer.config.to_hf(),
            decoder_start_token_id=decoder_start_token_id,
            eos_token_id=eos_token_id,
        )
        model = cls(config)
        _copy(reader.backbone, model.backbone.encoder)
        _copy(writer.backbone, model.backbone.decoder)
        assert model.head is not None
        assert writer.head is not None
        _copy(writer.head, model.head)
        logger.warning(
            "%s: cross-attention is neither in `%s` nor in `%s` and starts new; train before use.",
            cls.__name__,
            encoder,
            second,
        )
        if reader._has_tokenizer():
            model.tokenizer = reader.tokenizer
        return model.to(device, dtype).eval()


def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights that both modules have by the same names, into memory of their own."""
    weights = dict(source.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, weight in target.named_parameters(remove_duplicate=False):
            if name in weights:
                weight.copy_(weights[name])


class BertForSeq2SeqLM(EncoderDecoderModel):
    """Two BERTs, usually from one checkpoint."""

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> Self:
        """Load an encoder-decoder, or let both sides start from one BERT.

        Args:
            name_or_path: A folder, a built-in name such as `minilm`, or a repository.
            options: Those of `PretrainedModel.from_pretrained` or, for a BERT, of
                `from_encoder_decoder_pretrained`.

        Raises:
            HubError: The name leads to no folder.
            ConfigError: It is neither an encoder-decoder nor can it be both sides of one.
            CheckpointError: The weights are damaged or do not fit; every tensor is listed.
        """
        places = ("revision", "token", "cache_dir", "local_files_only")
        found = {name: options[name] for name in places if name in options}
        fields = read_json_object(find_model(str(name_or_path), **found) / CONFIG_FILE)
        if fields.get("model_type") == FAMILY.name:
            return super().from_pretrained(name_or_path, **options)
        return cls.from_encoder_decoder_pretrained(name_or_path, **options)


MODELS: dict[str, type[PretrainedModel]] = {
    "": EncoderDecoderModel,
    "seq2seq_lm": EncoderDecoderModel,
    "bert": BertForSeq2SeqLM,
}
"""Files of either class; there is no bare backbone of its own."""
