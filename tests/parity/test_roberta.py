"""RoBERTa, XLM-R and CamemBERT against those of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.models.auto import FAMILIES
from abrazo.models.roberta import RobertaConfig, RobertaModel
from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model
from helpers.tiny import padded, random_batch, scramble

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "other padding id": {"pad_token_id": 3},
    "segments": {"type_vocab_size": 2, "hidden_act": "relu"},
    "untied": {"tie_word_embeddings": False, "num_hidden_layers": 1},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
    "one number": {"num_labels": 1, "hidden_size": 12, "num_attention_heads": 4},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_roberta_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    fields = {**TINY, "type_vocab_size": 1, **CASES[case]}
    check(hf_model("Roberta", head, **fields), head, tmp_path)


@pytest.mark.parametrize("family", ["XLMRoberta", "Camembert"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_thin_families_are_theirs(family: str, head: str, case: str, tmp_path: Path) -> None:
    fields = {**TINY, "type_vocab_size": 1, **CASES[case]}
    check(hf_model(family, head, **fields), head, tmp_path)


def test_thin_families_are_known() -> None:
    assert {"roberta", "xlm-roberta", "camembert"} <= FAMILIES.keys()


def test_longest_row_leaves_out_the_positions_of_padding() -> None:
    config = RobertaConfig(**{**TINY, "max_position_embeddings": 14})
    assert RobertaModel(config).max_length == 12


@torch.no_grad()
def test_padding_on_the_left_changes_nothing() -> None:
    model = RobertaModel(RobertaConfig(**TINY)).eval()
    scramble(model)
    batch = random_batch((3, 7), vocab_size=40, segments=0)
    right, left = padded(batch, extra=1), padded(batch, extra=1, left=True)
    found = [model(**inputs).last_hidden_state for inputs in (right, left)]
    kept = [
        value[inputs["attention_mask"].bool()]
        for value, inputs in zip(found, (right, left), strict=True)
    ]
    torch.testing.assert_close(kept[0], kept[1])
