"""CamemBERT: RoBERTa over French.

Martin et al. 2019, https://arxiv.org/abs/1911.03894. The model is RoBERTa's:
see `abrazo.models.roberta`.
"""

import dataclasses
from typing import ClassVar

from abrazo.models import roberta
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import LeftToRightModel, by_head


@dataclasses.dataclass(frozen=True, kw_only=True)
class CamembertConfig(roberta.RobertaConfig):
    """The defaults are those of camembert-base."""

    model_type: ClassVar[str] = "camembert"

    vocab_size: int = 32005
    """Number of pieces in the vocabulary."""


FAMILY = dataclasses.replace(roberta.FAMILY, config=CamembertConfig)


class CamembertModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class CamembertForSequenceClassification(PretrainedModel):
    """CamemBERT with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class CamembertForTokenClassification(PretrainedModel):
    """CamemBERT with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class CamembertForQuestionAnswering(PretrainedModel):
    """CamemBERT that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class CamembertForMaskedLM(PretrainedModel):
    """CamemBERT that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


class CamembertForCausalLM(LeftToRightModel):
    """CamemBERT that reads from left to right and guesses the next word."""

    family = FAMILY


MODELS = by_head(
    CamembertModel,
    CamembertForSequenceClassification,
    CamembertForTokenClassification,
    CamembertForQuestionAnswering,
    CamembertForMaskedLM,
    CamembertForCausalLM,
)
