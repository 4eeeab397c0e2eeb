"""MPNet against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from abrazo.layers.positions import distances, two_sided_buckets
from helpers.encoders import (
    HEAD_CLASSES,
    TINY,
    assert_same_answers,
    check,
    hf_model,
    load_pair,
)

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "one layer": {"num_hidden_layers": 1, "hidden_act": "relu"},
    "four heads": {"num_attention_heads": 4},
    "untied": {"tie_word_embeddings": False},
    "several labels": {"num_labels": 5, "problem_type": "multi_label_classification"},
    "one number": {"num_labels": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_mpnet_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("MPNet", head, **{**TINY, **CASES[case]}), head, tmp_path)


@pytest.mark.parametrize("length", [1, 5, 33, 300])
def test_distances_fall_into_their_buckets(length: int) -> None:
    apart = distances(length, torch.device("cpu"))
    expected = MPNetEncoder.relative_position_bucket(-apart)
    assert torch.equal(two_sided_buckets(apart), expected)


def test_distances_beyond_the_exact_buckets_are_theirs(tmp_path: Path) -> None:
    fields = {**TINY, "max_position_embeddings": 200}
    ours, _ = load_pair(theirs := hf_model("MPNet", "", **fields), "", tmp_path)
    assert_same_answers(theirs, ours, "", lengths=(190, 3))
