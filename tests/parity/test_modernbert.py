"""ModernBERT against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest

from abrazo.errors import ConfigError
from abrazo.models.modernbert import ModernBertConfig, ModernBertForMaskedLM
from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model, inputs_for

IDS = {**TINY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IDS |= {"cls_token_id": 1, "sep_token_id": 2}
CASES: dict[str, dict[str, Any]] = {
    "usual": {"local_attention": 4},
    "biases everywhere": {
        "local_attention": 6,
        **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), True),
    },
    "mean": {"classifier_pooling": "mean", "num_labels": 1, "classifier_activation": "relu"},
    "kinds of blocks": {
        "layer_types": ["sliding_attention", "full_attention"],
        "local_attention": 2,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    },
    "untied": {"tie_word_embeddings": False, "decoder_bias": False, "num_hidden_layers": 4},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_modernbert_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("ModernBert", head, **{**IDS, **CASES[case]}), head, tmp_path)


def test_first_published_files_are_read() -> None:
    config = ModernBertConfig.from_hf(
        {
            "num_hidden_layers": 4,
            "global_attn_every_n_layers": 2,
            "global_rope_theta": 300.0,
            "local_rope_theta": None,
            "position_embedding_type": "absolute",
        }
    )
    assert config.kinds == ["full_attention", "sliding_attention"] * 2
    assert config.theta("full_attention") == config.theta("sliding_attention") == 300.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"layer_types": ["full_attention"]},
        {"layer_types": ["full_attention", "chunked_attention"]},
        {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
        {"rope_parameters": {"full_attention": {"rope_theta": "1"}}},
        {"hidden_size": 18, "num_attention_heads": 6},
        {"classifier_pooling": "max"},
        {"global_attn_every_n_layers": 0},
    ],
)
def test_config_that_no_model_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ModernBertConfig(**{**TINY, **wrong})


def test_padding_beyond_every_window_gives_finite_gradients() -> None:
    model = ModernBertForMaskedLM(ModernBertConfig(**TINY, pad_token_id=0, local_attention=2))
    inputs = inputs_for(model.config, (2, 30, 29))
    labels = inputs["input_ids"].where(inputs["attention_mask"].bool(), -100)
    model(**inputs, labels=labels).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
