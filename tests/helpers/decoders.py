"""Decoders of `transformers` in small, and what they say of rows, to compare ours with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from helpers.tiny import scramble

VOCAB_SIZE = 53
_USUAL = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_SHARED = {**_USUAL, "num_key_value_heads": 2}
_WAVES = {"rope_theta": 50.0}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "gpt2": {
        "usual": {"activation_function": "relu"},
        "by depth": {"scale_attn_by_inverse_layer_idx": True, "n_inner": 20},
        "unscaled": {"scale_attn_weights": False, "num_attention_heads": 1},
        "untied": {"tie_word_embeddings": False, "reorder_and_upcast_attn": True},
        "deep": {"num_hidden_layers": 4, "num_attention_heads": 8},
    },
    "gpt_neox": {
        "usual": {"hidden_size": 32},
        "one after the other": {"use_parallel_residual": False, "hidden_size": 32},
        "turned whole": {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}},
        "tied": {"tie_word_embeddings": True, "attention_bias": False, "hidden_size": 32},
        "old names": {"rotary_pct": 0.5, "rotary_emb_base": 30, "num_hidden_layers": 3},
    },
    "llama": {
        "usual": {},
        "biased": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
        "wide heads": {"head_dim": 10, "num_key_value_heads": 1},
        "tied": {"tie_word_embeddings": True, "hidden_act": "gelu"},
        "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, **_WAVES}},
        "llama3": {
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
                **_WAVES,
            },
            "head_dim": 16,
        },
    },
    "mistral": {
        "usual": {},
        "narrow": {"sliding_window": 3},
        "itself": {"sliding_window": 1, "num_key_value_heads": 1},
        "no window": {"sliding_window": None, "tie_word_embeddings": True},
        "wide heads": {"sliding_window": 5, "head_dim": 6, "num_hidden_layers": 3},
    },
    "qwen2": {
        "usual": {},
        "upper windows": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
        "by name": {
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 2,
        },
        "tied": {"tie_word_embeddings": True, "num_key_value_heads": 4},
        "yarn": {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 20,
                **_WAVES,
            },
            "hidden_size": 64,
        },
    },
    "qwen3": {
        "usual": {"head_dim": 8},
        "biased": {"head_dim": 6, "attention_bias": True, "num_key_value_heads": 1},
        "tied": {"head_dim": 4, "tie_word_embeddings": True},
        "windows": {
            "head_dim": 4,
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 0,
        },
        "dynamic": {
            "head_dim": 8,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, **_WAVES},
        },
    },
    "gemma": {
        "usual": {"head_dim": 8},
        "one key head": {"head_dim": 6, "num_key_value_heads": 1},
        "untied": {"head_dim": 4, "tie_word_embeddings": False, "attention_bias": True},
        "other activation": {"head_dim": 8, "hidden_act": "gelu"},
        "deep": {"head_dim": 4, "num_hidden_layers": 4},
    },
    "gemma2": {
        "usual": {"head_dim": 8, "sliding_window": 4},
        "low caps": {
            "head_dim": 8,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 1.5,
            "sliding_window": 6,
        },
        "no caps": {
            "head_dim": 4,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "query_pre_attn_scalar": 7,
        },
        "by name": {
            "head_dim": 4,
            "sliding_window": 2,
            "layer_types": ["full_attention", "sliding_attention"],
        },
        "biased": {"head_dim": 6, "attention_bias": True, "num_hidden_layers": 3},
    },
    "gemma3_text": {
        "usual": {"head_dim": 8, "sliding_window": 4, "num_hidden_layers": 3},
        "period": {
            "head_dim": 8,
            "sliding_window": 3,
            "sliding_window_pattern": 2,
            "num_hidden_layers": 4,
        },
        "waves by kind": {
            "head_dim": 8,
            "sliding_window": 5,
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            },
        },
        "capped": {"head_dim": 4, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 9},
        "untied": {"head_dim": 6, "tie_word_embeddings": False, "sliding_window_pattern": 1},
    },
}
"""What small configurations of each family have beside the usual sizes."""
EACH = [(family, case) for family, cases in CASES.items() for case in cases]


def their_model(family: str, head: str = "CausalLM", **changes: Any) -> Any:
    """Return a small random decoder of `transformers` without dropout."""
    usual = dict(_USUAL) if family in ("gpt2", "gpt_neox") else dict(_SHARED)
    if family == "gpt2":
        usual.pop("intermediate_size")
        changes = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, **changes}
    config = transformers.AutoConfig.for_model(family, **{**usual, **changes})
    config._attn_implementation = "eager"
    kind = getattr(transformers, f"AutoModelFor{head}") if head else transformers.AutoModel
    model = kind.from_config(config)
    scramble(model)
    return model.eval()


def pair_in(
    folder: Path, family: str, head: str = "CausalLM", **changes: Any
) -> tuple[Any, PretrainedModel]:
    """Return a decoder of `transformers`, and ours, loaded from its folder."""
    theirs = their_model(family, head, **changes)
    theirs.save_pretrained(folder)
    return theirs, load_model(folder)


def random_rows(lengths: Sequence[int], *, seed: int = 7) -> list[list[int]]:
    """Return rows of random ids without special ones."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCAB_SIZE, (n,), generator=generator).tolist() for n in lengths]


def as_padded(rows: Sequence[Sequence[int]], columns: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows padded on the right, and their mask."""
    columns = max(columns, *(len(row) for row in rows))
    ids = torch.tensor([[*row, *[0] * (columns - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(columns) < lengths[:, None]).long()


def as_packed(rows: Sequence[Sequence[int]], past: Cache | None = None) -> PackedBatch:
    """Return rows one after the other."""
    tokens = torch.tensor([token for row in rows for token in row])
    return PackedBatch(tokens, Layout([len(row) for row in rows]), past=past)


def last_scores(model: PretrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the scores of what follows whole rows, (R, V), computed at once."""
    batch = as_packed(rows)
    with torch.inference_mode():
        return model.answer_packed(batch)["logits"][torch.from_numpy(batch.layout.offsets[1:] - 1)]
