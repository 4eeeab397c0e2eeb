"""What every family of encoder-decoders promises."""

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import FAMILIES, AutoModelForSeq2SeqLM, TranslationModel, load_model
from abrazo.models.seq2seq_model import Seq2SeqModel
from helpers.families import models_of as all_models_of
from helpers.tiny import padded
from helpers.two_sides import (
    TINY,
    VOCAB_SIZE,
    batch_of,
    models_of,
    new_model,
    rows_of,
    shared_model,
)

each_family = pytest.mark.parametrize("family", TINY)
each_head = pytest.mark.parametrize(
    ("family", "head"), [(family, head) for family in TINY for head in ("", "seq2seq_lm")]
)
TARGETS, SOURCES = [7, 2, 11, 5], [4, 30, 1, 9]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def answers(model: Seq2SeqModel, batch: PackedBatch) -> Tensor:
    """Return the logits, or the vectors of a bare model, without gradients."""
    with torch.no_grad():
        output = model(batch)
    return output.logits if model.head_name else output.last_hidden_state


def both_padded(
    batch: PackedBatch, *, extra: int = 0, left: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    """Return a packed batch as padded inputs, and the mask of the decoder's side."""
    assert batch.source is not None
    source = padded(batch.source, extra=extra, left=left)
    target = padded(batch, extra=extra)
    inputs = {
        **source,
        "decoder_input_ids": target["input_ids"],
        "decoder_attention_mask": target["attention_mask"],
    }
    return inputs, target["attention_mask"].bool()


def test_each_family_has_a_row_in_the_table_of_small_ones() -> None:
    assert list(TINY) == [name for name in FAMILIES if "seq2seq_lm" in all_models_of(name)]


@each_head
def test_padding_does_not_change_the_result(family: str, head: str) -> None:
    model = shared_model(family, head)
    batch = batch_of(TARGETS, SOURCES)
    expected = answers(model, batch)
    assert expected.shape[0] == sum(TARGETS)
    for extra in (0, 6):
        inputs, mask = both_padded(batch, extra=extra)
        with torch.no_grad():
            found = model(**inputs)
        shown = found[0][mask]
        assert found[0].shape[:2] == mask.shape
        torch.testing.assert_close(shown, expected, **CLOSE)
        assert found.encoder_last_hidden_state.shape[:2] == inputs["input_ids"].shape


@pytest.mark.parametrize("family", ["t5", "mt5", "m2m_100"])
def test_sources_padded_on_the_left_mean_the_same(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES)
    inputs, mask = both_padded(batch, extra=2, left=True)
    with torch.no_grad():
        found = model(**inputs).logits[mask]
    torch.testing.assert_close(found, answers(model, batch), **CLOSE)


@each_head
def test_row_alone_is_the_row_in_any_batch(family: str, head: str) -> None:
    model = shared_model(family, head)
    targets, sources = [1, 30, 4, 4, 9, 1], [9, 2, 33, 33, 1, 5]
    batch = batch_of(targets, sources)
    together = answers(model, batch).split(targets)
    for row, expected in enumerate(together):
        alone = answers(model, rows_of(batch, row, row + 1))
        torch.testing.assert_close(alone, expected, **CLOSE)


@each_family
def test_later_tokens_and_other_sources_are_not_seen(family: str) -> None:
    model = shared_model(family)
    batch = batch_of([6, 6], [5, 5])
    expected = answers(model, batch)
    other = dataclasses.replace(batch, input_ids=batch.input_ids.clone())
    other.input_ids[4:] = batch.input_ids.flip(0)[4:]
    assert batch.source is not None
    changed = batch.source.input_ids.clone()
    changed[5:] = changed[5:].flip(0)
    other.source = dataclasses.replace(batch.source, input_ids=changed)
    found = answers(model, other)
    torch.testing.assert_close(found[:4], expected[:4], **CLOSE)
    assert not torch.allclose(found[6:], expected[6:], atol=1e-3)


@each_family
def test_gradients_reach_every_weight_that_trains(family: str) -> None:
    model = new_model(family).train()
    batch = batch_of([36, 20, 9, 3], [3, 36, 9, 20], labelled=True)
    model.compute_loss(batch)[0].mean.backward()
    untouched = [
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad
        and (weight.grad is None or not weight.grad.any() or not weight.grad.isfinite().all())
    ]
    assert not untouched


@each_family
def test_four_times_four_rows_learn_as_sixteen(family: str) -> None:
    model = new_model(family)
    rows = range(16)
    batch = batch_of([3 + row % 7 for row in rows], [1 + row % 5 for row in rows], labelled=True)

    def gradients(parts: list[PackedBatch]) -> list[Tensor]:
        model.zero_grad()
        losses = [model.compute_loss(part)[0] for part in parts]
        count = sum(int(loss.count) for loss in losses)
        for loss in losses:
            (loss.total / count).backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    whole = gradients([batch])
    in_parts = gradients([rows_of(batch, start, start + 4) for start in range(0, 16, 4)])
    assert len(whole) > 20
    for found, expected in zip(in_parts, whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


@each_family
def test_loss_of_padded_and_packed_calls_is_one(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES, labelled=True)
    inputs, mask = both_padded(batch, extra=1)
    labels = torch.full(mask.shape, -100)
    assert batch.labels is not None
    labels[mask] = batch.labels
    with torch.no_grad():
        expected, outputs = model.compute_loss(batch)
        found = model(**inputs, labels=labels).loss
    assert expected.mean > 0
    torch.testing.assert_close(found, expected.mean, **CLOSE)
    assert len(outputs["logits"]) == int((batch.labels != -100).sum())


@each_family
def test_labels_alone_are_read_moved_on_by_one(family: str) -> None:
    model = shared_model(family)
    batch = batch_of([5, 3], [4, 6])
    inputs, mask = both_padded(batch)
    labels = inputs.pop("decoder_input_ids").masked_fill(~mask, -100)
    del inputs["decoder_attention_mask"]
    moved = model.config.shift_right(batch.input_ids, batch.layout)
    starts = [batch.input_ids[4], batch.input_ids[7]]
    if not model.config.STARTS_WITH_LAST:
        starts = [model.config.decoder_start_token_id] * 2
    assert moved.tolist() == [starts[0], *batch.input_ids[:4], starts[1], *batch.input_ids[5:7]]
    expected = answers(model, dataclasses.replace(batch, input_ids=moved))
    with torch.no_grad():
        found = model(**inputs, labels=labels)
    torch.testing.assert_close(found.logits[mask], expected, **CLOSE)


@each_family
def test_what_the_encoder_gave_need_not_be_computed_again(family: str) -> None:
    model = shared_model(family)
    inputs, mask = both_padded(batch_of(TARGETS, SOURCES), extra=1)
    with torch.no_grad():
        first = model(**inputs)
        given = (first.encoder_last_hidden_state,)
        again = model(**{**inputs, "input_ids": None}, encoder_outputs=given)
    torch.testing.assert_close(again.logits[mask], first.logits[mask], **CLOSE)


@each_head
def test_saved_and_loaded_is_bit_for_bit_the_same(family: str, head: str, tmp_path: Path) -> None:
    model = shared_model(family, head)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert dataclasses.replace(loaded.config, extra={}) == model.config
    batch = batch_of(TARGETS, SOURCES)
    assert torch.equal(answers(loaded, batch), answers(model, batch))


@each_family
def test_automatic_classes_take_what_the_checkpoint_is(family: str, tmp_path: Path) -> None:
    model = shared_model(family)
    model.save_pretrained(tmp_path)
    for kind in (AutoModelForSeq2SeqLM, TranslationModel):
        assert type(kind.from_pretrained(tmp_path)) is type(model)


@each_head
def test_key_map_names_every_tensor_once(family: str, head: str) -> None:
    model = shared_model(family, head)
    key_map = model.key_map()
    ours = dict(model.named_parameters())
    for name in ours:
        assert sum(row.names_for(name) is not None for row in key_map.rows) == 1, name
    theirs = [outside for name in ours for outside in key_map.names_for(name)]
    assert len(theirs) == len(set(theirs))
    written = key_map.to_hf({name: weight.detach() for name, weight in ours.items()})
    assert sum(weight.numel() for weight in written.values()) == model.num_parameters()


@each_family
def test_bf16_is_close(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES)
    expected = answers(model, batch)
    found = answers(copy.deepcopy(model).to(torch.bfloat16), batch)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


@each_family
def test_loss_in_mixed_precision_is_close(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES, labelled=True)
    with torch.no_grad():
        expected = model.compute_loss(batch)[0].mean
        with torch.autocast("cpu", torch.bfloat16):
            found = model.compute_loss(batch)[0].mean
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.05)


@each_family
def test_copies_by_deepcopy_and_pickle_say_the_same(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES)
    expected = answers(model, batch)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.num_parameters() == model.num_parameters()
        assert torch.equal(answers(other, batch), expected)


@each_family
def test_dropout_acts_in_training_alone(family: str) -> None:
    changes = {"dropout_rate": 0.5} if "t5" in family else {"dropout": 0.5}
    if family == "encoder-decoder":
        changes = {
            side: {**TINY[family][side], "hidden_dropout_prob": 0.5}
            for side in ("encoder", "decoder")
        }
    model = new_model(family, **changes)
    batch = batch_of(TARGETS, SOURCES)
    assert torch.equal(answers(model, batch), answers(model, batch))
    model.train()
    assert not torch.allclose(answers(model, batch), answers(model, batch))


# what dynamo itself does with any function that has a gradient of its own
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("family", ["t5", "marian"])  # tracing takes seconds
def test_compiled_is_the_same(family: str) -> None:
    model = shared_model(family)
    batch = batch_of(TARGETS, SOURCES)
    expected = answers(model, batch)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch).logits, expected, **CLOSE)
    torch.compiler.reset()


# Going on word by word -----------------------------------------------------------------------


def last_logits(model: Seq2SeqModel, batch: PackedBatch) -> Tensor:
    """Return the logits of each row's last token, (R, V), computed at once."""
    ends = torch.from_numpy(batch.layout.offsets[1:] - 1)
    return answers(model, batch)[ends]


def cat_rows(first: list[Tensor], more: Tensor) -> PackedBatch:
    """Return rows with one more token, or several, each."""
    rows = [torch.cat([row, new]) for row, new in zip(first, more, strict=True)]
    return PackedBatch(torch.cat(rows), Layout([len(row) for row in rows]))


@each_family
@torch.no_grad()
def test_steps_give_what_all_at_once_gives(family: str) -> None:
    model = shared_model(family)
    prompts = batch_of([3, 1, 5], [6, 2, 9])
    cache = model.new_cache(20)
    first = model.answer_packed(dataclasses.replace(prompts, past=cache))["logits"]
    torch.testing.assert_close(first, last_logits(model, prompts), **CLOSE)
    rows = list(prompts.input_ids.split([3, 1, 5]))
    generator = torch.Generator().manual_seed(5)
    for count in (1, 1, 3, 1):
        new = torch.randint(5, VOCAB_SIZE, (3, count), generator=generator)
        step = PackedBatch(new.flatten(), Layout([count] * 3), past=cache)
        found = model.answer_packed(step)["logits"]
        whole = cat_rows(rows, new)
        rows = list(whole.input_ids.split(whole.layout.lengths.tolist()))
        whole.source = prompts.source
        torch.testing.assert_close(found, last_logits(model, whole), **CLOSE)
    assert cache.lengths.tolist() == [9, 7, 11]


@each_family
@torch.no_grad()
def test_beams_share_their_source(family: str) -> None:
    model = shared_model(family)
    prompts = batch_of([1, 1, 1], [6, 2, 9])
    cache = model.new_cache(20)
    model.answer_packed(dataclasses.replace(prompts, past=cache))
    cache.repeat(2)
    assert cache.layer(0).memory[0].shape[0] == 3
    new = torch.tensor([[7], [8], [9], [10], [11], [12]])
    model.answer_packed(PackedBatch(new.flatten(), Layout([1] * 6), past=cache))
    cache.reorder(torch.tensor([1, 1, 2, 3, 5, 4]))
    cache.keep(torch.tensor([0, 2]))
    assert cache.layer(0).memory[0].shape[0] == 2
    last = torch.tensor([13, 14, 15, 16])
    found = model.answer_packed(PackedBatch(last, Layout([1] * 4), past=cache))["logits"]
    starts = prompts.input_ids
    whole = PackedBatch(
        torch.stack([starts[[0, 0, 2, 2]], new[[1, 1, 5, 4], 0], last], 1).flatten(),
        Layout([3] * 4),
        source=PackedBatch(
            torch.cat([prompts.source.input_ids[:6]] * 2 + [prompts.source.input_ids[8:]] * 2),
            Layout([6, 6, 9, 9]),
        ),
    )
    torch.testing.assert_close(found, last_logits(model, whole), **CLOSE)


@each_family
@torch.no_grad()
def test_columns_can_be_taken_back(family: str) -> None:
    model = shared_model(family)
    prompts = batch_of([2, 4], [3, 5])
    cache = model.new_cache(20)
    model.answer_packed(dataclasses.replace(prompts, past=cache))
    step = PackedBatch(torch.tensor([7, 8]), Layout([1, 1]), past=cache)
    expected = model.answer_packed(step)["logits"]
    cache.rewind(1)
    wrong = PackedBatch(torch.tensor([20, 21, 22, 23]), Layout([2, 2]), past=cache)
    model.answer_packed(wrong)
    cache.rewind(2)
    again = PackedBatch(torch.tensor([7, 8]), Layout([1, 1]), past=cache)
    torch.testing.assert_close(model.answer_packed(again)["logits"], expected, **CLOSE)


# What is refused -----------------------------------------------------------------------------


@each_family
def test_a_missing_side_is_named(family: str) -> None:
    model = shared_model(family)
    ids = torch.tensor([[5, 6, 7]])
    with pytest.raises(DataError, match="what its encoder reads"):
        model(decoder_input_ids=ids)
    with pytest.raises(DataError, match="what its encoder reads"):
        model(PackedBatch(ids[0], Layout([3])))
    if not model.config.REPEATS_SOURCE:
        with pytest.raises(DataError, match="`decoder_input_ids` or `labels`"):
            model(ids)
    with pytest.raises(DataError, match="2 rows and 1 sources"):
        model(ids, labels=torch.tensor([[5, 6], [7, 8]]))
    for shape in ((1, 3, model.config.width + 1), (3, model.config.width)):
        with pytest.raises(DataError, match="`encoder_outputs` must have the shape"):
            model(ids, encoder_outputs=torch.zeros(shape), labels=ids)
    with pytest.raises(DataError, match="values it belongs to have"):
        model(ids, encoder_outputs=torch.zeros(1, 4, model.config.width), labels=ids)


@each_family
def test_rows_that_are_too_long_and_ids_out_of_range_are_named(family: str) -> None:
    model = shared_model(family)
    ids = torch.tensor([[5, 6, 7]])
    limit = model.max_length
    if limit < 100:
        with pytest.raises(DataError, match=f"{limit + 1} tokens, but the model reads at most"):
            model(batch_of([3], [limit + 1]))
        with pytest.raises(DataError, match="tokens, but the model reads at most"):
            model(ids, labels=ids.new_full((1, model.backbone.decoder.max_length + 1), 7))
    for wrong in (-1, VOCAB_SIZE):
        out = torch.tensor([[5, wrong, 6]])
        with pytest.raises(DataError, match=f"ids must be from 0 to .* {wrong} occurs"):
            model(out, labels=ids)
        with pytest.raises(DataError, match=f"ids must be from 0 to .* {wrong} occurs"):
            model(ids, decoder_input_ids=out)
    with pytest.raises(DataError, match=f"Labels must be from 0 to .* {VOCAB_SIZE} occurs"):
        model(ids, labels=torch.tensor([[5, 6, VOCAB_SIZE]]))


@each_family
def test_cache_that_is_full_says_so(family: str) -> None:
    model = shared_model(family)
    cache = model.new_cache(3)
    model.answer_packed(dataclasses.replace(batch_of([3], [4]), past=cache))
    with pytest.raises(DataError, match="at most 3"):
        model.answer_packed(PackedBatch(torch.tensor([5]), Layout([1]), past=cache))


def test_every_family_has_a_bare_class() -> None:
    assert all("" in models_of(family) for family in TINY)
