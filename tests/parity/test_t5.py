"""T5 and mT5 against those of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import transformers

from helpers.seq2seq import VOCAB_SIZE, check

TINY: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "gated": {"feed_forward_proj": "gated-gelu"},
    "unscaled": {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False},
    "few buckets": {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 10},
    "wide heads, deep decoder": {"d_kv": 10, "num_heads": 3, "num_decoder_layers": 3},
}


def their_model(name: str, **changes: Any) -> transformers.PreTrainedModel:
    family = "MT5" if name.startswith("MT5") else "T5"
    config = getattr(transformers, f"{family}Config")(
        **{**TINY, **changes}, attn_implementation="eager"
    )
    return getattr(transformers, name)(config)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "name", ["T5ForConditionalGeneration", "T5Model", "MT5ForConditionalGeneration"]
)
def test_t5_is_theirs(name: str, case: str, tmp_path: Path) -> None:
    check(their_model(name, **CASES[case]), tmp_path)
