"""DistilBERT against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest

from abrazo.models.distilbert import DistilBertConfig
from helpers.encoders import HEAD_CLASSES, VOCAB_SIZE, check, hf_model

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 24,
    "max_position_embeddings": 40,
    **dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), 0.0),
}
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "one layer": {"n_layers": 1, "activation": "relu"},
    "one head": {"n_heads": 1, "dim": 10},
    "untied": {"tie_word_embeddings": False},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
    "one number": {"num_labels": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_distilbert_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("DistilBert", head, **{**SIZES, **CASES[case]}), head, tmp_path)


def test_common_names_of_sizes_are_understood() -> None:
    config = DistilBertConfig(hidden_size=24, num_attention_heads=3, num_hidden_layers=1)
    assert (config.dim, config.n_heads, config.n_layers) == (24, 3, 1)
