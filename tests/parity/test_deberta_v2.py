"""DeBERTa v2 and v3 against that of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from abrazo.errors import ConfigError
from abrazo.layers.positions import distances, signed_buckets
from abrazo.models.deberta_v2 import DebertaV2Config
from helpers.encoders import HEAD_CLASSES, TINY, check, hf_model

V3 = {
    **TINY,
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "norm_rel_ebd": "layer_norm",
}
CASES: dict[str, dict[str, Any]] = {
    "v3": {"position_buckets": 4, "share_att_key": True, "position_biased_input": False},
    "v2 with a convolution": {
        "position_buckets": 6,
        "share_att_key": True,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
    "own projections": {"type_vocab_size": 2, "max_relative_positions": 5, "norm_rel_ebd": "none"},
    "content with distance": {"pos_att_type": "c2p", "conv_kernel_size": 5, "conv_groups": 2},
    "distance with content": {"pos_att_type": ["p2c"], "pooler_hidden_act": "relu"},
    "no distances": {"relative_attention": False, "norm_rel_ebd": "none", "num_labels": 5},
    "untied": {"tie_word_embeddings": False, "num_labels": 1},
    "words of v3": {"legacy": False, "problem_type": "multi_label_classification"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("head", HEAD_CLASSES)
def test_deberta_v2_is_theirs(head: str, case: str, tmp_path: Path) -> None:
    check(hf_model("DebertaV2", head, **{**V3, **CASES[case]}), head, tmp_path, atol=1e-4)


@pytest.mark.parametrize(("buckets", "farthest"), [(2, 9), (4, 40), (7, 50), (256, 512), (31, 300)])
def test_distances_fall_into_their_buckets(buckets: int, farthest: int) -> None:
    apart = distances(600, torch.device("cpu"))
    expected = make_log_bucket_position(apart, buckets, farthest).long()
    assert torch.equal(signed_buckets(apart, buckets, farthest), expected)


def test_fields_that_a_file_leaves_out_mean_what_they_mean_there() -> None:
    config = DebertaV2Config.from_hf({"position_buckets": 8})
    assert not config.relative_attention
    assert (config.position_buckets, config.norm_rel_ebd, config.terms) == (8, "none", [])
    with pytest.raises(ConfigError, match="position_buckets"):
        DebertaV2Config(position_buckets=1)
