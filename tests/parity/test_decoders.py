"""Decoders against those of `transformers`: answers, gradients, words written, files both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.errors import CheckpointError
from abrazo.models.auto import load_model
from helpers.decoders import CASES, EACH, as_padded, pair_in, random_rows, their_model

each = pytest.mark.parametrize(("family", "case"), EACH)
each_family = pytest.mark.parametrize("family", CASES)
ROWS = random_rows([9, 4, 12])


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare to five digits of the largest."""
    largest = expected.detach().abs().max().item()
    torch.testing.assert_close(found, expected, atol=1e-5 * max(1, largest), rtol=1e-5)


def assert_same_gradients(theirs: Any, ours: Any) -> None:
    mine = {name: weight.grad for name, weight in ours.named_parameters()}
    yours = dict(theirs.named_parameters())
    assert not [name for name, gradient in mine.items() if gradient is None]
    for name, gradient in ours.key_map().to_hf(mine).items():
        error = (gradient - yours[name].grad).norm()
        assert error <= 1e-4 * yours[name].grad.norm() + 1e-6, name


@each
def test_answers_and_gradients_are_the_same(family: str, case: str, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path, family, **CASES[family][case])
    ids, mask = as_padded(ROWS, 14)
    labels = ids.masked_fill(mask == 0, -100)
    states = {"output_hidden_states": True, "output_attentions": True}
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels, **states)
    found = ours(ids, mask, labels=labels, **states)
    real = mask.bool()
    assert_close(found.logits[real], expected.logits[real])
    assert_close(found.loss, expected.loss)
    for mine, yours in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_close(mine[real], yours[real])
    for mine, yours in zip(found.attentions, expected.attentions, strict=True):
        assert_close(mine.transpose(1, 2)[real], yours.transpose(1, 2)[real])
    expected.loss.backward()
    found.loss.backward()
    assert_same_gradients(theirs, ours)
    with torch.inference_mode():  # other kernels
        again = ours(ids, mask)
    assert_close(again.logits[real], found.logits[real].detach())


@each
def test_files_go_both_ways_bit_for_bit(family: str, case: str, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path / "theirs", family, **CASES[family][case])
    ours.save_pretrained(tmp_path / "ours")
    back, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    wanted = theirs.state_dict()
    assert back.state_dict().keys() == wanted.keys()
    assert all(torch.equal(weight, wanted[name]) for name, weight in back.state_dict().items())
    ids, mask = as_padded(ROWS)
    with torch.no_grad():
        found, expected = (each(ids, attention_mask=mask)[0] for each in (back, theirs))
    assert_close(found[mask.bool()], expected[mask.bool()])
    again = load_model(tmp_path / "ours")
    assert type(again) is type(ours)
    assert again.config == ours.config.replace(extra=again.config.extra)
    for (name, weight), other in zip(ours.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other), name


@pytest.mark.parametrize("beams", [1, 3])
@each
def test_the_same_words_are_written(family: str, case: str, beams: int, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path, family, **CASES[family][case])
    ids = torch.tensor(random_rows([6, 6]))
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 12, "num_beams": beams, "do_sample": False, "pad_token_id": 1}
    # what their cache keeps of a window of one is everything
    use_cache = theirs.config.to_dict().get("sliding_window") != 1
    expected = theirs.generate(ids, attention_mask=mask, use_cache=use_cache, **options)
    assert ours.generate(ids, mask, **options).tolist() == expected.tolist()


@each_family
def test_bare_and_classifying_models_are_the_same(family: str, tmp_path: Path) -> None:
    changes = {"head_dim": 8} if family.startswith(("qwen3", "gemma")) else {}
    changes |= {"hidden_size": 32} if family == "gpt_neox" else {}
    theirs, ours = pair_in(tmp_path / "bare", family, "", **changes)
    ids, mask = as_padded(ROWS)
    real = mask.bool()
    expected, found = theirs(ids, attention_mask=mask), ours(ids, mask)
    assert_close(found.last_hidden_state[real], expected.last_hidden_state[real])
    for number, kind in ((3, None), (1, None), (2, "multi_label_classification")):
        settings = {**changes, "num_labels": number, "problem_type": kind}
        folder = tmp_path / f"{number}"
        theirs, ours = pair_in(folder, family, "SequenceClassification", **settings)
        labels = torch.tensor([0, 2, 1]) if number == 3 else torch.tensor([0.5, -1, 2])
        labels = torch.tensor([[1.0, 0], [0, 0], [1, 1]]) if number == 2 else labels
        expected = theirs(ids, attention_mask=mask, labels=labels)
        found = ours(ids, mask, labels=labels)
        assert_close(found.logits, expected.logits)
        assert_close(found.loss, expected.loss)
        expected.loss.backward()
        found.loss.backward()
        assert_same_gradients(theirs, ours)
        ours.save_pretrained(tmp_path / "back")
        back = type(theirs).from_pretrained(tmp_path / "back")
        wanted = theirs.state_dict()
        assert all(torch.equal(weight, wanted[name]) for name, weight in back.state_dict().items())


def test_masks_and_angles_that_old_files_hold_are_no_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    old = {
        "gpt2": ("transformer.h.1.attn.bias", "transformer.h.0.attn.masked_bias"),
        "gpt_neox": ("gpt_neox.layers.1.attention.bias", "gpt_neox.layers.0.attention.masked_bias"),
        "llama": ("model.layers.1.self_attn.rotary_emb.inv_freq",),
    }
    for family, names in old.items():
        theirs = their_model(family, hidden_size=32)
        theirs.config.save_pretrained(tmp_path)
        weights = {name: weight.detach().clone() for name, weight in theirs.named_parameters()}
        if family == "gpt_neox":
            weights["embed_out.weight"] = weights.pop("lm_head.weight")
        save_file(
            {**weights, **{name: torch.ones(1, 1, 4, 4) for name in names}},
            tmp_path / "model.safetensors",
        )
        ids, _ = as_padded(ROWS[:1])
        with torch.no_grad():
            torch.testing.assert_close(
                load_model(tmp_path, "causal_lm")(ids).logits, theirs(ids)[0]
            )
        save_file(
            {**weights, "transformer.h.1.attn.other": torch.ones(1)}, tmp_path / "model.safetensors"
        )
        with pytest.raises(CheckpointError, match=r"unexpected .*attn\.other"):
            load_model(tmp_path, "causal_lm")
