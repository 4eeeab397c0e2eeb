"""What a field means that a `config.json` leaves out: the same here as in `transformers`."""

import dataclasses

import pytest
import transformers

from abrazo.models.auto import FAMILIES, model_class

COMPUTED = {"layer_types", "rope_parameters", "head_dim"}
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
