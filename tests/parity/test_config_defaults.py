"""What a field means that a `config.json` leaves out: the same here as in `transformers`."""

import copy
import dataclasses
from typing import Any

import pytest
import transformers

from abrazo.models.auto import FAMILIES, model_class

COMPUTED = {
    *("layer_types", "rope_parameters", "rope_scaling", "head_dim"),
    *("num_key_value_heads", "sliding_window"),
}
"""Fields that `transformers` fills in where ours stay None and are computed when asked for."""


@pytest.mark.parametrize("model_type", sorted(FAMILIES.keys() - {"encoder-decoder"}))
def test_fields_that_a_file_leaves_out_mean_the_same(model_type: str) -> None:
    ours = model_class(model_type, "").family.config.from_hf({"vocab_size": 40})
    theirs = transformers.AutoConfig.for_model(model_type, vocab_size=40)
    shared = [field.name for field in dataclasses.fields(ours) if hasattr(theirs, field.name)]
    assert len(shared) > 10
    classifies = "sequence_classification" in model_class(model_type, "").family.heads
    for name in set(shared) - COMPUTED - (set() if classifies else {"id2label"}):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("model_type", ["modernbert", "nomic_bert", "gte"])
def test_rotary_waves_that_a_file_leaves_out_are_theirs(model_type: str) -> None:
    ours = model_class(model_type, "").family.config.from_hf({})
    theirs = transformers.AutoConfig.for_model(model_type)
    if model_type != "modernbert":
        assert ours.theta == theirs.rope_parameters["rope_theta"]
        return
    assert ours.kinds == theirs.layer_types
    for kind in set(ours.kinds):
        assert ours.theta(kind) == theirs.rope_parameters[kind]["rope_theta"]


@pytest.mark.parametrize(
    "model_type", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"]
)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_hidden_layers": 7, "use_sliding_window": True, "max_window_layers": 3},
        {"rope_theta": 77.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"hidden_size": 640, "num_attention_heads": 8, "num_key_value_heads": 2},
    ],
    ids=["defaults", "windows", "old waves", "heads"],
)
def test_what_decoders_compute_of_files_is_theirs(model_type: str, fields: dict[str, Any]) -> None:
    ours = model_class(model_type, "").family.config.from_hf(fields)
    theirs = transformers.AutoConfig.for_model(model_type, **copy.deepcopy(fields))
    assert ours.kv_heads == theirs.num_key_value_heads
    assert ours.head_width == getattr(theirs, "head_dim", ours.head_width)
    if hasattr(theirs, "layer_types"):
        assert ours.kinds == theirs.layer_types
    assert ours.window == getattr(theirs, "sliding_window", None)
    for kind in set(ours.kinds):
        settings = theirs.rope_parameters
        settings = settings[kind] if model_type == "gemma3_text" else settings
        found = ours.rope(kind)
        assert found["rope_theta"] == settings["rope_theta"]
        assert found["rope_type"] == settings["rope_type"]
        assert found.get("factor") == settings.get("factor")
