"""GTE against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest

from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "one layer": {"num_hidden_layers": 1, "hidden_act": "silu"},
    "other waves": {"rope_parameters": {"rope_type": "default", "rope_theta": 30.0}},
    "no segments": {"type_vocab_size": 0, "num_attention_heads": 4},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
    "one number": {"num_labels": 1, "tie_word_embeddings": False},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", [head for head in HEAD_CLASSES if head != "question_answering"])
def test_gte_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("Gte", head, **{**TINY, **CASES[case]}), head, tmp_path)
