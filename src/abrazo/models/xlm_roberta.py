"""XLM-R: RoBERTa over a hundred languages.

Conneau et al. 2019, https://arxiv.org/abs/1911.02116. The model is RoBERTa's:
see `abrazo.models.roberta`.
"""

import dataclasses
from typing import ClassVar

from abrazo.models import roberta
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import LeftToRightModel, by_head


@dataclasses.dataclass(frozen=True, kw_only=True)
class XLMRobertaConfig(roberta.RobertaConfig):
    """The defaults are those of xlm-roberta-base."""

    model_type: ClassVar[str] = "xlm-roberta"

    vocab_size: int = 250002
    """Number of pieces in the vocabulary."""


FAMILY = dataclasses.replace(roberta.FAMILY, config=XLMRobertaConfig)


class XLMRobertaModel(PretrainedModel):
    """The bare backbone."""

    family = FAMILY


class XLMRobertaForSequenceClassification(PretrainedModel):
    """XLM-R with a classifier on the first token."""

    family = FAMILY
    head_name = "sequence_classification"


class XLMRobertaForTokenClassification(PretrainedModel):
    """XLM-R with a classifier on each token."""

    family = FAMILY
    head_name = "token_classification"


class XLMRobertaForQuestionAnswering(PretrainedModel):
    """XLM-R that finds the answer to a question in a text."""

    family = FAMILY
    head_name = "question_answering"


class XLMRobertaForMaskedLM(PretrainedModel):
    """XLM-R that guesses masked words."""

    family = FAMILY
    head_name = "masked_lm"


class XLMRobertaForCausalLM(LeftToRightModel):
    """XLM-R that reads from left to right and guesses the next word."""

    family = FAMILY


MODELS = by_head(
    XLMRobertaModel,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForMaskedLM,
    XLMRobertaForCausalLM,
)
