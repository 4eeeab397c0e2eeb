"""Pegasus: an encoder-decoder that learned to write the sentences a text lacks, for summaries.

Zhang et al. 2019, https://arxiv.org/abs/1912.08777. What sets it apart from BART: positions are
sines, norms stand before each part of a block and behind the last one, none behind the embeddings.
"""

import dataclasses
from typing import ClassVar

from abrazo.models import bart
from abrazo.models.encoder import by_head
from abrazo.models.marian import sine_positions, wrong_sines
from abrazo.models.seq2seq_model import Seq2SeqModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class PegasusConfig(bart.BartConfig):
    """The defaults are those of `transformers`; pegasus-large has 16 blocks and ReLU."""

    model_type: ClassVar[str] = "pegasus"
    REPEATS_SOURCE: ClassVar[bool] = False

    pad_token_id: int | None = 0
    """The id that pads rows."""
    bos_token_id: int | None = None
    """The id that begins texts."""
    eos_token_id: int | list[int] | None = 1
    """The id that ends texts, or several."""
    decoder_start_token_id: int | None = 0
    """The id that the decoder reads first."""

    def _wrong_values(self) -> list[str]:
        return [*super()._wrong_values(), *wrong_sines(self)]


class PegasusBackbone(bart.BartBackbone):
    """BART's, with sines for positions and norms in other places."""

    design = bart.Design(is_pre_norm=True, has_embedding_norm=False, positions=sine_positions)


FAMILY = dataclasses.replace(
    bart.FAMILY,
    config=PegasusConfig,
    backbone=PegasusBackbone,
    elsewhere=(*bart.FAMILY.elsewhere, *bart.SINES),
)


class PegasusModel(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class PegasusForConditionalGeneration(Seq2SeqModel):
    """Pegasus that writes a text for a text, such as its summary."""

    family = FAMILY
    head_name = "seq2seq_lm"


MODELS = by_head(PegasusModel, PegasusForConditionalGeneration)
