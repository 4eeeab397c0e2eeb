"""Models of `transformers` with the same weights, to compare ours with."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from abrazo.checkpoints.jsonfile import write_json
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import MODELS
from helpers.tiny import scramble, tiny_config

HF_BERT = {
    "": transformers.BertModel,
    "sequence_classification": transformers.BertForSequenceClassification,
    "token_classification": transformers.BertForTokenClassification,
    "question_answering": transformers.BertForQuestionAnswering,
    "masked_lm": transformers.BertForMaskedLM,
    "next_sentence": transformers.BertForNextSentencePrediction,
    "pretraining": transformers.BertForPreTraining,
}
"""The classes of `transformers` by our names of heads."""


def hf_bert(head: str, *, seed: int = 0, **changes: Any) -> transformers.PreTrainedModel:
    """Return a small random BERT of `transformers`."""
    has_pooler = changes.pop("has_pooler", True)
    fields = tiny_config(**changes).to_hf()
    config = transformers.BertConfig(**fields, attn_implementation="eager")
    options = {} if head or has_pooler else {"add_pooling_layer": False}
    model = HF_BERT[head](config, **options)
    scramble(model, seed)
    return model.eval()


def bert_pair(
    head: str, folder: Path, **changes: Any
) -> tuple[transformers.PreTrainedModel, PretrainedModel]:
    """Return a model of `transformers` and ours, loaded from a file of its weights."""
    theirs = hf_bert(head, **changes)
    weights = {name: weight.detach() for name, weight in theirs.named_parameters()}
    save_file(weights, folder / "model.safetensors")
    fields = {**theirs.config.to_dict(), "model_type": "bert"}
    write_json(folder / "config.json", fields)
    return theirs, MODELS[head].from_pretrained(folder)


def gradients_by_hf_name(model: PretrainedModel) -> dict[str, torch.Tensor]:
    """Return the gradients of our model under the names that files use."""
    found = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in model.named_parameters()
    }
    return model.key_map().to_hf(found)


def hf_parameters(model: transformers.PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Return the weights by name, shared ones under each of their names."""
    return dict(model.named_parameters(remove_duplicate=False))
