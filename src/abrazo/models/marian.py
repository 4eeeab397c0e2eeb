"""Marian: the translation models of OPUS-MT, one for each pair of languages.

Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344. What sets it apart from BART:
positions are sines, there is no norm behind the embeddings, the decoder first reads the padding id,
and the scores of words get a bias, which files have as `final_logits_bias`. In some models either
side has words of its own.
"""

import dataclasses
from typing import Any, ClassVar

import torch

from abrazo.layers.shared_embeddings import SinePositions
from abrazo.models import bart
from abrazo.models.encoder import by_head
from abrazo.models.seq2seq_model import Seq2SeqModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarianConfig(bart.BartConfig):
    """The defaults are those of `transformers`; OPUS-MT models have six blocks, 512 wide."""

    model_type: ClassVar[str] = "marian"
    REPEATS_SOURCE: ClassVar[bool] = False

    vocab_size: int = 58101
    """Number of pieces in the vocabulary."""
    decoder_vocab_size: int | None = None
    """Number of pieces that the decoder writes; None takes `vocab_size`."""
    share_encoder_decoder_embeddings: bool = True
    """Whether either side reads the same words."""
    pad_token_id: int | None = 58100
    """The id that pads rows."""
    bos_token_id: int | None = None
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 0
    """The id that ends texts, or several."""
    decoder_start_token_id: int | None = 58100
    """The id that the decoder reads first."""

    def __post_init__(self) -> None:
        """Settle what is left open, and check every field."""
        if self.decoder_vocab_size is None:
            object.__setattr__(self, "decoder_vocab_size", self.vocab_size)
        super().__post_init__()

    @property
    def shares_words(self) -> bool:
        """Whether either side reads the same words."""
        return self.tie_word_embeddings and self.share_encoder_decoder_embeddings

    @property
    def target_vocab_size(self) -> int:
        """Number of pieces that the decoder writes."""
        if self.share_encoder_decoder_embeddings:
            return self.vocab_size
        return self.decoder_vocab_size or self.vocab_size

    def _wrong_values(self) -> list[str]:
        return [*super()._wrong_values(), *wrong_sines(self)]


def wrong_sines(config: bart.BartConfig) -> list[str]:
    """Return a line where the width has no half for sines and one for cosines."""
    if config.d_model % 2:
        return [f"`d_model` must be even, but is {config.d_model}."]
    return []


def sine_positions(config: Any) -> SinePositions:
    """Return positions whose wave lengths grow over the whole width, as Marian computes them."""
    half = config.d_model // 2
    steps = torch.arange(half, dtype=torch.float64, device="cpu") / half
    return SinePositions(config.max_position_embeddings, 10_000.0**-steps)


class MarianBackbone(bart.BartBackbone):
    """BART's, with sines for positions and no norm behind the embeddings."""

    design = bart.Design(has_embedding_norm=False, positions=sine_positions)


FAMILY = dataclasses.replace(
    bart.FAMILY,
    config=MarianConfig,
    backbone=MarianBackbone,
    elsewhere=(*bart.FAMILY.elsewhere, *bart.SINES),
)


class MarianModel(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class MarianMTModel(Seq2SeqModel):
    """Marian that translates."""

    family = FAMILY
    head_name = "seq2seq_lm"


MODELS = by_head(MarianModel, MarianMTModel)
