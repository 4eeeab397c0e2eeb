"""BERT and its kin as language models, against those of `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from abrazo.models.auto import AutoModelForCausalLM, BertLM, load_model
from abrazo.models.bert import BertConfig, BertForMaskedLM, BertLMHeadModel
from abrazo.models.roberta import RobertaConfig, RobertaForMaskedLM
from helpers.decoders import as_packed, as_padded, last_scores, random_rows
from helpers.encoders import TINY
from helpers.tiny import scramble

ROWS = random_rows([9, 4, 12])
KINDS = {
    "bert": "BertLMHeadModel",
    "roberta": "RobertaForCausalLM",
    "xlm-roberta": "XLMRobertaForCausalLM",
    "camembert": "CamembertForCausalLM",
}
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "untied": {"tie_word_embeddings": False},
    "one layer": {"num_hidden_layers": 1, "num_attention_heads": 4},
    "other activation": {"hidden_act": "relu"},
    "no segments": {"type_vocab_size": 1},
}
each = pytest.mark.parametrize(
    ("family", "case"), [(family, case) for family in KINDS for case in CASES]
)


def pair_in(folder: Path, family: str, **changes: Any) -> tuple[Any, Any]:
    config = transformers.AutoConfig.for_model(
        family, **{**TINY, "vocab_size": 53, "is_decoder": True, "pad_token_id": 1, **changes}
    )
    config._attn_implementation = "eager"
    theirs = getattr(transformers, KINDS[family])(config)
    scramble(theirs)
    theirs.eval().save_pretrained(folder)
    return theirs, load_model(folder)


@each
def test_answers_gradients_and_files_are_the_same(family: str, case: str, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path / "theirs", family, **CASES[case])
    assert type(ours).__name__ == KINDS[family]
    ids, mask = as_padded(ROWS)
    ids = ids.masked_fill(mask == 0, 1)
    labels = ids.masked_fill(mask == 0, -100)
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels)
    found = ours(ids, mask, labels=labels)
    real = mask.bool()
    torch.testing.assert_close(found.logits[real], expected.logits[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
    expected.loss.backward()
    found.loss.backward()
    mine = {name: weight.grad for name, weight in ours.named_parameters()}
    yours = dict(theirs.named_parameters(remove_duplicate=False))
    for name, gradient in ours.key_map().to_hf(mine).items():
        error = (gradient - yours[name].grad).norm()
        assert error <= 1e-4 * yours[name].grad.norm() + 1e-6, name
    ours.save_pretrained(tmp_path / "ours")
    back = type(theirs).from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        again = back(ids, attention_mask=mask)[0]
    torch.testing.assert_close(again[real], expected.logits[real], atol=1e-5, rtol=1e-5)
    wanted, found = theirs.state_dict(), back.state_dict()
    if case == "untied":  # a bias that nothing reads
        unread = ("predictions.bias", "lm_head.bias")
        found = {name: weight for name, weight in found.items() if not name.endswith(unread)}
    assert all(torch.equal(weight, wanted[name]) for name, weight in found.items())
    again = load_model(tmp_path / "ours")
    assert again.config == ours.config.replace(extra=again.config.extra)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", KINDS)
def test_the_same_words_are_written(family: str, beams: int, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path, family, eos_token_id=2, bos_token_id=0)
    ids = torch.tensor(random_rows([6, 6]))
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 9, "num_beams": beams, "do_sample": False, "pad_token_id": 1}
    # left alone, their loop counts positions from 0 where their training counts from 2
    positions = torch.arange(6).expand(2, -1) + (0 if family == "bert" else 2)
    expected = theirs.generate(ids, attention_mask=mask, position_ids=positions, **options)
    assert ours.generate(ids, mask, **options).tolist() == expected.tolist()


@pytest.mark.parametrize("family", KINDS)
def test_steps_are_reading_the_whole_again(family: str, tmp_path: Path) -> None:
    model, rows = pair_in(tmp_path, family)[1], ROWS
    cache = model.new_cache()
    with torch.inference_mode():
        model.answer_packed(as_packed(rows, cache))
        for step, new in enumerate((1, 3, 1)):
            more = random_rows([new] * 3, seed=step)
            rows = [[*row, *tokens] for row, tokens in zip(rows, more, strict=True)]
            found = model.answer_packed(as_packed(more, cache))["logits"]
            torch.testing.assert_close(found, last_scores(model, rows), atol=1e-5, rtol=1e-4)


def test_a_writer_is_what_the_checkpoint_is(tmp_path: Path) -> None:
    new = BertLM(BertConfig(**TINY))
    assert type(new) is BertLMHeadModel
    new.save_pretrained(tmp_path / "new")
    assert type(BertLM.from_pretrained(tmp_path / "new")) is BertLMHeadModel
    for kind, config in ((BertForMaskedLM, BertConfig), (RobertaForMaskedLM, RobertaConfig)):
        kind(config(**TINY)).save_pretrained(tmp_path / "gaps")
        assert type(BertLM.from_pretrained(tmp_path / "gaps")) is kind


def test_what_ends_a_prompt_is_taken_off(tmp_path: Path) -> None:
    model = pair_in(tmp_path, "bert", eos_token_id=3, pad_token_id=0)[1]
    options = {"max_new_tokens": 4}
    bare = model.generate(torch.tensor([[7, 8, 9]]), **options)
    assert model.generate(torch.tensor([[7, 8, 9, 3]]), **options).tolist() == bare.tolist()
    two = model.generate(torch.tensor([[7, 8, 9, 3, 0], [7, 5, 6, 8, 3]]), **options)
    assert two[0, [0, 1, 2]].tolist() == [7, 8, 9]
    assert two[0, 3] == 0
    assert two[0, 4:].tolist() == bare[0, 3:].tolist()
    assert model.generate(torch.tensor([[3]]), **options)[0, 0] == 3


def test_bert_that_fills_gaps_becomes_one_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = BertConfig(**TINY)
    model = BertForMaskedLM(config)
    scramble(model)
    model.eval().save_pretrained(tmp_path)
    writer = BertLM.from_pretrained(tmp_path, is_decoder=True)
    assert not caplog.records
    assert writer.config.is_decoder
    assert type(writer) is BertLMHeadModel
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path)) is BertLMHeadModel
    assert "has not learned to read from left to right" in caplog.text
    names = dict(writer.named_parameters())
    assert all(torch.equal(weight, names[name]) for name, weight in model.named_parameters())
    batch = as_packed(random_rows([3, 8]))
    batch.input_ids %= 40
    with torch.no_grad():
        first = writer(batch).logits
        batch.input_ids[-1] = 5
        second = writer(batch).logits
    assert torch.equal(first[:-1], second[:-1])  # nothing looks ahead
    assert not torch.equal(first[-1], second[-1])
