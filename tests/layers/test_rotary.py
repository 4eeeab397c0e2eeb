"""Rotary angles of stretched waves: those of `transformers`, and of each row by itself."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from abrazo.layers.layout import Layout
from abrazo.layers.rotary import Rotary, rope_settings, wrong_rope_settings

NUM_POSITIONS, WIDTH = 64, 16
LONG = [1.0 + 0.5 * number for number in range(WIDTH // 2)]
SHORT = [1.0 + 0.1 * number for number in range(WIDTH // 2)]
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}
CASES: list[dict[str, Any]] = [
    {"rope_type": "default"},
    {"rope_type": "default", "rope_theta": 30.0},
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    {"rope_type": "yarn", "factor": 8.0, "beta_fast": 16, "beta_slow": 2, "truncate": False},
    {"rope_type": "yarn", "factor": 2.0, "attention_factor": 0.7},
    {"rope_type": "yarn", "factor": 40.0, "mscale": 0.7, "mscale_all_dim": 1.0},
    {**LLAMA3, "original_max_position_embeddings": 32, "rope_theta": 500.0},
    {**LONGROPE, "factor": 4.0, "original_max_position_embeddings": 32},
    {**LONGROPE, "original_max_position_embeddings": 16},
    {**LONGROPE, "original_max_position_embeddings": 32, "attention_factor": 1.3},
]


def rotary(settings: dict[str, Any]) -> Rotary:
    whole = rope_settings(settings, theta=10_000.0, num_positions=NUM_POSITIONS)
    return Rotary(WIDTH, whole, NUM_POSITIONS)


def angles(settings: dict[str, Any], length: int) -> torch.Tensor:
    """Return cosines and sines for a row of that length, (2, T, D / 2)."""
    found = rotary(settings).angles(torch.arange(length), Layout([length]), np.array([length]))
    return torch.stack(found)[:, :, 0]


@pytest.mark.parametrize("length", [5, 30, 64, 100])
@pytest.mark.parametrize("settings", CASES, ids=lambda each: "-".join(map(str, each.values()))[:40])
def test_angles_are_theirs(settings: dict[str, Any], length: int) -> None:
    config = transformers.LlamaConfig(
        hidden_size=32,
        num_attention_heads=2,
        max_position_embeddings=NUM_POSITIONS,
        rope_parameters={"rope_theta": 10_000.0, **settings},
    )
    theirs = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(length)[None])
    expected = torch.stack(theirs)[:, 0, :, : WIDTH // 2]
    torch.testing.assert_close(angles(settings, length), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("settings", CASES, ids=lambda each: "-".join(map(str, each.values()))[:40])
def test_a_row_turns_by_its_own_length(settings: dict[str, Any]) -> None:
    lengths = np.array([10, 100, 40])
    layout = Layout(lengths)
    whole = torch.stack(rotary(settings).angles(layout.positions, layout, lengths))[:, :, 0]
    apart = [angles(settings, int(length)) for length in lengths]
    torch.testing.assert_close(whole, torch.cat(apart, 1))


def test_old_names_mean_the_same() -> None:
    old = {"type": "linear", "factor": 2.0}
    settings = rope_settings(None, old, theta=7.0, num_positions=9)
    assert settings["rope_type"] == "linear"
    assert settings["rope_theta"] == 7.0
    assert settings["original_max_position_embeddings"] == 9
    both = rope_settings(
        {"rope_type": "default", "rope_theta": 3.0}, old, theta=7.0, num_positions=9
    )
    assert both == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "must map names to values"),
        ({"rope_type": "mrope"}, "must be one of"),
        ({"rope_type": "linear"}, "needs `factor`"),
        ({"rope_type": "linear", "factor": 0.5}, "factor` must be a number of 1 or more"),
        ({"rope_theta": float("nan")}, "rope_theta` must be a number"),
        ({"rope_theta": True}, "rope_theta` must be a number"),
        ({**LONGROPE, "long_factor": [1.0]}, "long_factor` must be 8 numbers above 0"),
        ({**LONGROPE, "short_factor": [0.0] * 8}, "short_factor` must be 8 numbers above 0"),
        ({**LLAMA3, "high_freq_factor": 1.0}, "`high_freq_factor` above that"),
    ],
)
def test_settings_that_are_wrong_are_told(settings: Any, message: str) -> None:
    problems = wrong_rope_settings("rope_parameters", settings, WIDTH)
    assert len(problems) == 1
    assert message in problems[0]
    assert not wrong_rope_settings("rope_parameters", {**LONGROPE, "factor": 2}, WIDTH)
