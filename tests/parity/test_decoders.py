"""Decoders against those of `transformers`: answers, gradients, words written, files both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import load_model
from helpers.tiny import scramble

SIZES = [
    {"layers": 1, "heads": 2, "kv": 2, "width": 16, "middle": 24, "seed": 0},
    {"layers": 2, "heads": 4, "kv": 2, "width": 32, "middle": 40, "seed": 1},
    {"layers": 3, "heads": 4, "kv": 1, "width": 32, "middle": 64, "seed": 2, "tied": True},
    {"layers": 2, "heads": 8, "kv": 4, "width": 48, "middle": 32, "seed": 3, "window": 4},
    {"layers": 1, "heads": 6, "kv": 3, "width": 36, "middle": 20, "seed": 4, "window": 7},
]
FAMILIES = ["gpt2", "llama", "mistral", "qwen2"]
VOCAB = 53
LENGTHS = [9, 4, 12]


def config_for(family: str, size: dict[str, Any]) -> transformers.PretrainedConfig:
    """Return a configuration of `transformers`."""
    tied = size.get("tied", False)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if family == "gpt2":
        return transformers.GPT2Config(
            vocab_size=VOCAB,
            n_positions=40,
            n_embd=size["width"],
            n_layer=size["layers"],
            n_head=size["heads"],
            n_inner=size["middle"],
            scale_attn_by_inverse_layer_idx=tied,
            **ids,
        )
    kinds = {
        "llama": transformers.LlamaConfig,
        "mistral": transformers.MistralConfig,
        "qwen2": transformers.Qwen2Config,
    }
    own = {"sliding_window": size.get("window")} if family == "mistral" else {}
    return kinds[family](
        vocab_size=VOCAB,
        hidden_size=size["width"],
        intermediate_size=size["middle"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["kv"],
        max_position_embeddings=40,
        tie_word_embeddings=tied,
        **ids,
        **own,
    )


@pytest.fixture(params=[(family, size) for family in FAMILIES for size in SIZES], ids=str)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    family, size = request.param
    theirs = transformers.AutoModelForCausalLM.from_config(config_for(family, size))
    scramble(theirs, size["seed"])
    theirs.generation_config.pad_token_id = 0
    theirs.eval().save_pretrained(tmp_path / "theirs")
    return theirs, load_model(tmp_path / "theirs")


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, VOCAB, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    return ids.masked_fill(mask == 0, 0), mask


def flat(rows: list[list[int]]) -> list[int]:
    """Return all ids of some rows."""
    return [token for row in rows for token in row]


def test_answers_and_gradients_are_the_same(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    ids, mask = inputs()
    labels = ids.masked_fill(mask == 0, -100)
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels)
    found = ours(ids, mask, labels=labels)
    real = mask.bool()
    torch.testing.assert_close(found.logits[real], expected.logits[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
    expected.loss.backward()
    found.loss.backward()
    theirs_words = theirs.get_input_embeddings().weight.grad
    ours_words = ours.backbone.word_embeddings.weight.grad
    torch.testing.assert_close(ours_words, theirs_words, atol=1e-5, rtol=1e-3)


def test_what_is_saved_is_what_was_loaded(pair: tuple[Any, Any], tmp_path: Path) -> None:
    theirs, ours = pair
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    state = again.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in theirs.state_dict().items())


def test_going_on_is_reading_again(pair: tuple[Any, Any]) -> None:
    _, ours = pair
    ids, _ = inputs()
    rows = [ids[row, :length].tolist() for row, length in enumerate(LENGTHS)]
    cache = ours.new_cache()
    with torch.inference_mode():
        batch = PackedBatch(torch.tensor(flat(rows)), Layout(LENGTHS), past=cache)
        scores = ours.answer_packed(batch)["logits"]
        for _ in range(5):
            words = scores.argmax(-1)
            rows = [[*row, word] for row, word in zip(rows, words.tolist(), strict=True)]
            layout = Layout([len(row) for row in rows])
            step = PackedBatch(words, Layout([1] * len(rows)), past=cache)
            scores = ours.answer_packed(step)["logits"]
            whole = ours.answer_packed(PackedBatch(torch.tensor(flat(rows)), layout))["logits"]
            last = whole[torch.from_numpy(layout.offsets[1:] - 1)]
            torch.testing.assert_close(scores, last, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_same_words_are_written(pair: tuple[Any, Any], beams: int) -> None:
    theirs, ours = pair
    ids = inputs()[0][:1, :5]
    options = {"max_new_tokens": 8, "num_beams": beams, "do_sample": False}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)
    assert ours.generate(ids, **options).tolist() == expected.tolist()
