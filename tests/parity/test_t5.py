"""T5 and mT5 against those of `transformers`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from abrazo.errors import ConfigError
from abrazo.models.auto import load_model
from abrazo.models.t5 import T5Config, T5EncoderModel, T5ForConditionalGeneration
from helpers.seq2seq import VOCAB_SIZE, check
from helpers.tiny import padded, random_batch, scramble

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


def test_a_head_of_its_own_is_found_although_the_config_says_shared(tmp_path: Path) -> None:
    theirs = their_model("T5ForConditionalGeneration", tie_word_embeddings=False)
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn(VOCAB_SIZE, 16))
    check(theirs, tmp_path)
    again = T5ForConditionalGeneration.from_pretrained(tmp_path / "theirs")
    assert not again.config.tie_word_embeddings
    assert again.config.output_scale == 1.0


def test_files_that_say_nothing_is_shared_but_have_no_head_share_it(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(**TINY))
    scramble(model)
    model.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["scale_decoder_outputs"]
    (tmp_path / "config.json").write_text(json.dumps({**fields, "tie_word_embeddings": False}))
    again = T5ForConditionalGeneration.from_pretrained(tmp_path)
    assert again.head is not None
    assert again.head.decoder.weight is again.embeddings.tokens.weight
    assert again.config.output_scale == 1.0


def test_words_are_found_under_each_of_their_names(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(**TINY))
    scramble(model)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    words = weights.pop("shared.weight")
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    for names in (["encoder.embed_tokens"], ["decoder.embed_tokens", "lm_head"], ["lm_head"]):
        named = {f"{name}.weight": words.clone() for name in names}
        save_file({**weights, **named, unread: torch.zeros(32, 2)}, tmp_path / "model.safetensors")
        again = T5ForConditionalGeneration.from_pretrained(tmp_path)
        assert torch.equal(again.embeddings.tokens.weight, words)


def test_the_encoder_alone_is_theirs(tmp_path: Path) -> None:
    theirs = their_model("T5EncoderModel")
    scramble(theirs)
    theirs.eval().save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert type(ours) is T5EncoderModel
    batch = random_batch([7, 3, 12], vocab_size=VOCAB_SIZE, segments=0)
    inputs = padded(batch, extra=1)
    mask = inputs["attention_mask"].bool()
    expected = theirs(**inputs).last_hidden_state
    found = ours(**inputs).last_hidden_state
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)
    ours.save_pretrained(tmp_path / "ours")
    back, report = transformers.T5EncoderModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values())
    assert all(torch.equal(back.state_dict()[n], w) for n, w in theirs.state_dict().items())


def test_the_encoder_of_a_whole_model_can_be_loaded(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(**TINY))
    model.save_pretrained(tmp_path)
    encoder = T5EncoderModel.from_pretrained(tmp_path)
    for name, weight in encoder.backbone.named_parameters():
        assert torch.equal(weight, model.backbone.encoder.get_parameter(name))


def test_new_weights_start_as_in_the_released_code() -> None:
    config = T5Config(**{**TINY, "d_model": 64, "d_ff": 100, "vocab_size": 300, "d_kv": 16})
    model = T5ForConditionalGeneration(config)
    parts = dict(model.named_parameters())
    inner = 32
    joint = parts["backbone.encoder.blocks.0.attention.query_key_value.weight"]
    expected = {
        "words": (parts["backbone.encoder.embeddings.tokens.weight"], 1.0),
        "queries": (joint[:inner], (64 * 16) ** -0.5),
        "keys": (joint[inner:], 64**-0.5),
        "down": (parts["backbone.decoder.blocks.1.feedforward.down.weight"], 100**-0.5),
        "across": (parts["backbone.decoder.blocks.0.cross_attention.query.weight"], 1024**-0.5),
    }
    for name, (weight, std) in expected.items():
        assert abs(weight.std().item() / std - 1) < 0.1, name
    assert (parts["backbone.decoder.final_norm.weight"] == 1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"feed_forward_proj": "jump"}, "`feed_forward_proj` 'jump' is none of"),
        ({"feed_forward_proj": "gated-jump"}, "`feed_forward_proj` 'gated-jump' is none of"),
        ({"d_kv": 0}, "`d_kv` must be at least 1"),
        ({"num_layers": 0}, "`num_layers` must be at least 1"),
        ({"num_layers": 10**7}, "`num_layers` must be"),
        ({"num_decoder_layers": 301}, "`num_decoder_layers` must be at most"),
        ({"layer_norm_epsilon": 0.0}, "`layer_norm_epsilon` must be above 0"),
        ({"relative_attention_num_buckets": 3}, "must be an even number of 4 or more"),
        ({"relative_attention_max_distance": 16}, "must be above 16"),
        ({"dropout_rate": 1.5}, "`dropout_rate` must be from 0 to 1"),
        ({"d_model": "wide"}, "`d_model` must be of type int"),
        ({"d_modle": 8}, "has no field `d_modle`. Did you mean `d_model`"),
    ],
)
def test_config_that_no_model_can_have_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        T5Config(**{**TINY, **wrong})
