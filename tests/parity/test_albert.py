"""ALBERT against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest

from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model

CASES: dict[str, dict[str, Any]] = {
    "usual": {"embedding_size": 8},
    "two groups": {"embedding_size": 8, "num_hidden_layers": 5, "num_hidden_groups": 2},
    "two blocks in a group": {"embedding_size": 16, "inner_group_num": 2},
    "untied": {"embedding_size": 8, "tie_word_embeddings": False, "hidden_act": "relu"},
    "several labels": {
        "embedding_size": 8,
        "num_labels": 5,
        "problem_type": "multi_label_classification",
    },
    "one number": {"embedding_size": 4, "num_labels": 1, "type_vocab_size": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_albert_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("Albert", head, **{**TINY, **CASES[case]}), head, tmp_path)
