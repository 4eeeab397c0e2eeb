"""mBART: BART over many languages.

Liu et al. 2020, https://arxiv.org/abs/2001.08210; mBART-50: Tang et al. 2020,
https://arxiv.org/abs/2008.00401. What sets it apart from BART: norms before each part of a block
and behind the last one; the decoder first reads what its labels end with: the id of the language
in mBART, the end of text in mBART-50.
"""

import dataclasses
from typing import ClassVar

from abrazo.models import bart
from abrazo.models.encoder import by_head
from abrazo.models.seq2seq_model import Seq2SeqModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class MBartConfig(bart.BartConfig):
    """The defaults are those of mbart-large."""

    model_type: ClassVar[str] = "mbart"
    STARTS_WITH_LAST: ClassVar[bool] = True

    decoder_start_token_id: int | None = None
    """Not read in training: there the decoder first reads the last label of its row."""


class MBartBackbone(bart.BartBackbone):
    """BART's, with norms in other places."""

    design = bart.Design(is_pre_norm=True)


FAMILY = dataclasses.replace(bart.FAMILY, config=MBartConfig, backbone=MBartBackbone)


class MBartModel(Seq2SeqModel):
    """The bare encoder and decoder."""

    family = FAMILY


class MBartForConditionalGeneration(Seq2SeqModel):
    """MBART that writes a text for a text."""

    family = FAMILY
    head_name = "seq2seq_lm"


MODELS = by_head(MBartModel, MBartForConditionalGeneration)
