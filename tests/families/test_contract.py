"""What every family of encoders promises, with every one of its heads."""

import copy
import dataclasses
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from abrazo.errors import ConfigError, DataError
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from helpers.families import (
    CASES,
    READERS,
    TINY,
    batch_for,
    labelled,
    models_of,
    new_model,
    num_segments,
    rows_of,
    shared_model,
    tiny_family_config,
)
from helpers.tiny import padded

each_model = pytest.mark.parametrize(("family", "head"), CASES)
each_head = pytest.mark.parametrize(
    ("family", "head"), [(family, head) for family, head in CASES if head]
)
each_family = pytest.mark.parametrize("family", READERS)
LENGTHS = [7, 2, 11, 5]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def answers(model: PretrainedModel, batch: PackedBatch) -> dict[str, Tensor]:
    """Return all that a model says of a packed batch, without gradients."""
    with torch.no_grad():
        output = model(batch)
    return {name: output[name] for name in output.keys()}  # noqa: SIM118


def by_token(model: PretrainedModel, name: str) -> bool:
    """Tell whether an output has a line for each token."""
    if model.head is None:
        return name == "last_hidden_state"
    return model.head.answers_tokens(name)


def test_each_family_has_a_row_in_the_table_of_small_ones() -> None:
    assert list(TINY) == READERS


@each_model
def test_outputs_have_the_shapes_of_the_call(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_for(model, LENGTHS)
    inputs = padded(batch, extra=2)
    packed, whole = answers(model, batch), model(**inputs)
    assert packed
    assert list(packed) == list(whole.keys())
    for name, value in packed.items():
        if by_token(model, name):
            assert value.shape[0] == sum(LENGTHS)
            assert whole[name].shape == (4, 13, *value.shape[1:])
        else:
            assert whole[name].shape == value.shape
            assert value.shape[0] == 4
        assert value.dtype == torch.float32


@each_model
def test_padding_does_not_change_the_result(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_for(model, LENGTHS)
    expected = answers(model, batch)
    for extra, left in ((0, False), (9, False), (3, True)):
        inputs = padded(batch, extra=extra, left=left)
        mask = inputs["attention_mask"].bool()
        if left and model.backbone.counts_columns:
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            found = model(**inputs)
        for name, value in expected.items():
            shown = found[name][mask] if by_token(model, name) else found[name]
            torch.testing.assert_close(shown, value, **CLOSE)


@each_model
def test_row_alone_is_the_row_in_any_batch(family: str, head: str) -> None:
    model = shared_model(family, head)
    lengths = [1, 30, 4, 4, 9, 1]
    batch = batch_for(model, lengths)
    together = answers(model, batch)
    ends = torch.tensor(lengths).cumsum(0).tolist()
    for row, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        for name, value in answers(model, rows_of(batch, row, row + 1)).items():
            stands = slice(end - length, end) if by_token(model, name) else slice(row, row + 1)
            torch.testing.assert_close(value, together[name][stands], **CLOSE)


@each_model
def test_other_rows_leave_no_trace_in_gradients(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_for(model, [5, 8])
    other = dataclasses.replace(batch, input_ids=batch.input_ids.flip(0))
    other.input_ids[:5] = batch.input_ids[:5]
    results = []
    for these in (batch, other):
        hidden, _ = model.backbone(these)
        results.append(torch.autograd.grad(hidden[:5].square().sum(), model.embeddings.norm.weight))
    torch.testing.assert_close(*results)


@each_model
def test_gradients_reach_every_weight(family: str, head: str) -> None:
    model = new_model(family, head).train()
    batch = batch_for(model, [40 - 4, 20, 9, 3])
    if model.head is None:
        output = model(batch)
        goal = sum(value.square().sum() for value in output)
    else:
        goal = model.compute_loss(labelled(model, batch))[0].mean
    goal.backward()
    untouched = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any() or not torch.isfinite(weight.grad).all()
    ]
    if head == "question_answering":  # a score added to all tokens of a row changes no share
        untouched = [name for name in untouched if name != "head.classifier.bias"]
    assert not untouched


@each_head
def test_four_times_four_rows_learn_as_sixteen(family: str, head: str) -> None:
    if (family, head) == ("bert", "pretraining"):
        pytest.skip("two means of different counts do not add up to one")
    model = new_model(family, head)
    batch = labelled(model, batch_for(model, [3 + row % 7 for row in range(16)]))

    def gradients(parts: list[PackedBatch]) -> list[Tensor]:
        model.zero_grad()
        losses = [model.compute_loss(part)[0] for part in parts]
        count = sum(int(loss.count) for loss in losses)
        for loss in losses:
            (loss.total / count).backward()
        return [weight.grad.clone() for weight in model.parameters()]

    whole = gradients([batch])
    in_parts = gradients([rows_of(batch, start, start + 4) for start in range(0, 16, 4)])
    for found, expected in zip(in_parts, whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


@each_head
def test_loss_of_padded_and_packed_calls_is_one(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = labelled(model, batch_for(model, LENGTHS))
    inputs = padded(batch, extra=1)
    mask = inputs["attention_mask"].bool()
    labels = batch.labels
    if len(labels) == batch.layout.num_tokens:
        labels = torch.zeros(mask.shape, dtype=labels.dtype)
        labels[mask] = batch.labels
    with torch.no_grad():
        expected = model.compute_loss(batch)[0].mean
        found = model(**inputs, labels=labels, next_sentence_label=batch.next_sentence_label).loss
    assert expected > 0
    torch.testing.assert_close(found, expected, **CLOSE)


@each_model
def test_saved_and_loaded_is_bit_for_bit_the_same(family: str, head: str, tmp_path: Path) -> None:
    model = shared_model(family, head)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert dataclasses.replace(loaded.config, extra={}) == model.config
    batch = batch_for(model, LENGTHS)
    for name, value in answers(model, batch).items():
        assert torch.equal(answers(loaded, batch)[name], value)


@each_model
def test_key_map_names_every_tensor_once(family: str, head: str) -> None:
    model = shared_model(family, head)
    key_map = model.key_map()
    ours = dict(model.named_parameters())
    for name in ours:
        assert sum(row.names_for(name) is not None for row in key_map.rows) == 1, name
    theirs = [outside for name in ours for outside in key_map.names_for(name)]
    assert len(theirs) == len(set(theirs))
    written = key_map.to_hf({name: weight.detach() for name, weight in ours.items()})
    assert set(written) == set(theirs)
    assert sum(weight.numel() for weight in written.values()) == model.num_parameters()


@each_model
def test_bf16_is_close(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_for(model, LENGTHS)
    half = copy.deepcopy(model).to(torch.bfloat16)
    expected = answers(model, batch)
    for name, value in answers(half, batch).items():
        assert value.dtype == torch.bfloat16
        error = (value.float() - expected[name]).norm() / expected[name].norm()
        assert error < 0.05, name


@each_model
def test_copies_by_deepcopy_and_pickle_say_the_same(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_for(model, LENGTHS)
    expected = answers(model, batch)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.num_parameters() == model.num_parameters()
        found = answers(other, batch)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


@each_head
def test_model_of_the_class_names_its_heads(family: str, head: str) -> None:
    model = shared_model(family, head)
    assert model.head_name == head
    assert model.max_length >= 36
    assert len(str(model).splitlines()) < 70


@each_family
def test_dropout_acts_in_training_alone(family: str) -> None:
    shares = {
        field.name: 0.5
        for field in dataclasses.fields(models_of(family)[""].family.config)
        if "dropout" in field.name
    }
    model = new_model(family, "sequence_classification", **shares)
    batch = batch_for(model, LENGTHS)
    kept = answers(model, batch)["logits"]
    assert torch.equal(answers(model, batch)["logits"], kept)
    model.train()
    torch.manual_seed(1)
    first, second = answers(model, batch)["logits"], answers(model, batch)["logits"]
    assert not torch.allclose(first, second)
    torch.manual_seed(1)
    assert torch.equal(answers(model, batch)["logits"], first)


# what dynamo itself does with any function that has a gradient of its own
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")
@each_family
def test_compiled_is_the_same(family: str) -> None:
    model = shared_model(family, "sequence_classification")
    batch = batch_for(model, LENGTHS)
    expected = answers(model, batch)["logits"]
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch).logits, expected, **CLOSE)
    torch.compiler.reset()


@each_family
def test_files_of_half_precision_load_as_single_unless_told(family: str, tmp_path: Path) -> None:
    model = new_model(family, "sequence_classification").half()
    model.save_pretrained(tmp_path)
    kind = models_of(family)["sequence_classification"]
    loaded = kind.from_pretrained(tmp_path)
    for weight, half in zip(loaded.parameters(), model.parameters(), strict=True):
        assert weight.dtype == torch.float32
        assert torch.equal(weight, half.float())
    assert kind.from_pretrained(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


@each_family
def test_device_that_is_not_there_is_refused(family: str, tmp_path: Path) -> None:
    model = shared_model(family, "")
    model.save_pretrained(tmp_path)
    kind = models_of(family)[""]
    assert kind.from_pretrained(tmp_path, device="cpu").device.type == "cpu"
    with pytest.raises(ConfigError, match="no device `cuda:77`"):
        kind.from_pretrained(tmp_path, device="cuda:77")


@each_family
def test_new_model_starts_small_and_in_training(family: str) -> None:
    model = models_of(family)["sequence_classification"](tiny_family_config(family))
    assert model.training
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert not weight.any(), name
        elif "norm" in name:
            assert (weight == 1).all(), name
        else:
            assert 0.001 < weight.std() < 0.1, name


@each_family
def test_row_that_is_too_long_and_ids_out_of_range_are_named(family: str) -> None:
    model = shared_model(family, "")
    limit = model.max_length
    assert answers(model, batch_for(model, [limit]))
    with pytest.raises(DataError, match=f"{limit + 1} tokens, but the model reads at most {limit}"):
        model(batch_for(model, [3, limit + 1]))
    for wrong in (-1, model.config.vocab_size):
        with pytest.raises(DataError, match=f"Token ids must be from 0 to .* {wrong} occurs"):
            model(torch.tensor([[5, wrong, 6]]))
    if num_segments(model):
        segments = torch.tensor([[0, num_segments(model)]])
        with pytest.raises(DataError, match="Segments"):
            model(torch.tensor([[5, 6]]), token_type_ids=segments)


@each_family
def test_layout_of_many_rows_can_be_shared_by_calls(family: str) -> None:
    model = shared_model(family, "")
    batch = batch_for(model, LENGTHS)
    first = answers(model, batch)["last_hidden_state"]
    assert torch.equal(answers(model, batch)["last_hidden_state"], first)
    again = dataclasses.replace(batch, layout=Layout(LENGTHS))
    assert torch.equal(answers(model, again)["last_hidden_state"], first)


@each_family
def test_weights_saved_by_torch_load_into_the_same_class(family: str) -> None:
    model = shared_model(family, "sequence_classification")
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = models_of(family)["sequence_classification"](tiny_family_config(family))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    batch = batch_for(model, LENGTHS)
    expected = answers(model, batch)["logits"]
    assert torch.equal(answers(other.eval(), batch)["logits"], expected)


@each_family
def test_hidden_states_end_with_the_output_and_attentions_are_shares(family: str) -> None:
    model = shared_model(family, "")
    inputs = padded(batch_for(model, LENGTHS), extra=1)
    mask = inputs["attention_mask"].bool()
    with torch.no_grad():
        found = model(**inputs, output_hidden_states=True, output_attentions=True)
    layers = 2
    assert len(found.hidden_states) == layers + 1
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert len(found.attentions) == layers
    for shares in found.attentions:
        assert shares.shape[0] == 4
        sums = shares.sum(-1).transpose(1, 2)[mask]
        torch.testing.assert_close(sums, torch.ones_like(sums))
