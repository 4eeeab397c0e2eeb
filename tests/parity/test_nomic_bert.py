"""Nomic BERT against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.errors import ConfigError
from abrazo.models.nomic_bert import (
    NomicBertConfig,
    NomicBertForQuestionAnswering,
    NomicBertModel,
)
from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model, inputs_for

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "one layer": {"num_hidden_layers": 1, "hidden_act": "gelu"},
    "other waves": {"rope_parameters": {"rope_type": "default", "rope_theta": 30.0}},
    "one segment": {"type_vocab_size": 1, "num_attention_heads": 4},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
    "one number": {"num_labels": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", [head for head in HEAD_CLASSES if head != "question_answering"])
def test_nomic_bert_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("NomicBert", head, **{**TINY, **CASES[case]}), head, tmp_path)


def test_first_published_files_are_read() -> None:
    config = NomicBertConfig.from_hf(
        {
            "n_embd": 24,
            "n_layer": 3,
            "n_head": 2,
            "n_inner": 40,
            "n_positions": 70,
            "activation_function": "swiglu",
            "layer_norm_epsilon": 1e-6,
            "rotary_emb_base": 50,
            "rotary_emb_fraction": 1.0,
            "qkv_proj_bias": False,
            "prenorm": False,
        }
    )
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (24, 3, 40)
    assert (config.hidden_act, config.theta, config.layer_norm_eps) == ("silu", 50.0, 1e-6)
    assert NomicBertModel(config).max_length == 70


@pytest.mark.parametrize("wrong", [{"prenorm": True}, {"qkv_proj_bias": True}, {"head_dim": 3}])
def test_model_of_another_build_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NomicBertConfig.from_hf({**TINY, **wrong})


@torch.no_grad()
def test_question_answering_keeps_its_weights(tmp_path: Path) -> None:
    model = NomicBertForQuestionAnswering(NomicBertConfig(**TINY)).eval()
    model.save_pretrained(tmp_path)
    again = NomicBertForQuestionAnswering.from_pretrained(tmp_path)
    inputs = inputs_for(model.config, (5, 2))
    assert torch.equal(model(**inputs).start_logits, again(**inputs).start_logits)
