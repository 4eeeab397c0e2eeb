"""Options are read, merged and checked; mistakes are told before anything is computed."""

import json
from typing import Any

import pytest
import torch

from abrazo import load_model
from abrazo.errors import CheckpointError, ConfigError, DataError
from abrazo.generation.config import GENERATION_FILE, GenerationConfig
from abrazo.generation.decoding import generate_rows
from abrazo.generation.settling import Plan, settle
from helpers.generation import END, PAD, llama_pair, prompts
from helpers.tiny import tiny_bert


def settled(model: dict[str, Any] | None = None, **options: Any) -> Plan:
    config, own = GenerationConfig(**options), GenerationConfig(**(model or {}))
    return settle(config, own, has_tokenizer=False, streams=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return llama_pair(tmp_path_factory.mktemp("llama"))[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokns": 3}, "Did you mean `max_new_tokens`?"),
        ({"num_beams": 0}, "`num_beams` must be at least 1, but is 0"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be at least 1"),
        ({"temperature": 0.0, "do_sample": True}, "take `do_sample=False`"),
        ({"top_p": 1.2, "do_sample": True}, "`top_p` must be above 0 and at most 1"),
        ({"min_p": -0.2, "do_sample": True}, "`min_p` must be from 0 to 1"),
        ({"repetition_penalty": 0.0}, "`repetition_penalty` must be above 0"),
        ({"seed": -1}, "`seed` must be from 0"),
        ({"early_stopping": "soon"}, "`early_stopping` must be of type"),
        ({"suppress_tokens": [-1]}, "`suppress_tokens` must hold token ids"),
        ({"bad_words_ids": [[]]}, "`bad_words_ids` must hold lists"),
        ({"stop_strings": ["a", ""]}, "at least one character"),
        ({"length_penalty": float("nan")}, "`length_penalty` must be a number"),
        ({"num_beams": "4"}, "`num_beams` must be of type"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_value_is_refused(options, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        GenerationConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.7}, "`temperature=0.7` needs `do_sample=True`"),
        ({"top_k": 5}, "`top_k=5` needs `do_sample=True`"),
        ({"top_p": 0.5}, "`top_p=0.5` needs `do_sample=True`"),
        ({"min_p": 0.1}, "`min_p=0.1` needs `do_sample=True`"),
        ({"num_return_sequences": 2}, "needs `do_sample=True`, or `num_beams=2`"),
        ({"num_return_sequences": 5, "num_beams": 4}, "at most `num_beams` (4), but is 5"),
        ({"length_penalty": 2.0}, "`length_penalty=2.0` needs `num_beams` above 1"),
        ({"early_stopping": True}, "`early_stopping=True` needs `num_beams` above 1"),
        ({"max_length": 9, "max_new_tokens": 3}, "say the same in two ways"),
        ({"min_length": 9, "max_length": 3}, "`min_length` must be at most `max_length` (3)"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "must be at most `max_new_tokens` (3)"),
        ({"stop_strings": "."}, "`stop_strings` need `tokenizer=`"),
        ({"suppress_tokens": [2], "forced_eos_token_id": 2}, "is one of `suppress_tokens`"),
        ({"suppress_tokens": [4], "forced_bos_token_id": 4}, "is one of `suppress_tokens`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        settled(**options)
    assert message in str(caught.value)


def test_all_contradictions_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        settled(temperature=0.5, length_penalty=2.0, num_return_sequences=3)
    assert len(str(caught.value).splitlines()) == 3


def test_values_that_say_nothing_contradict_nothing():
    settled(temperature=1.0, top_k=50, top_p=1.0, length_penalty=1.0, early_stopping=False)


def test_what_the_model_says_gives_way_to_the_caller():
    own = {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_length": 9, "num_beams": 4}
    plan = settled(own, do_sample=False, max_new_tokens=30)
    assert plan.config.max_length is None
    assert plan.config.max_new_tokens == 30
    assert (plan.num_beams, plan.do_sample) == (4, False)
    assert settled({"max_new_tokens": 9}, max_length=7).config.max_new_tokens is None
    assert settled({"min_length": 50}, min_new_tokens=2).config.min_length is None
    assert settled({"min_length": 50}, max_length=20).config.max_length == 20


def test_limits_of_rows_count_their_own_tokens(model):
    import numpy as np

    lengths = np.array([3, 10])
    fewest, most = settled(max_length=20, min_length=8).limits(lengths, 64)
    assert (fewest.tolist(), most.tolist()) == ([5, 0], [17, 10])
    fewest, most = settled().limits(np.array([50]), 64)
    assert most.tolist() == [14]  # 20 by default, but there is no room for them
    assert settled({"max_new_tokens": 99}).limits(lengths, 64)[1].tolist() == [61, 54]
    assert settled({"min_length": 30}, max_length=12).limits(lengths, 64)[0].tolist() == [9, 2]
    with pytest.raises(ConfigError, match="leaves no room for a word: row 1 has 10 tokens"):
        settled(max_length=10).limits(lengths, 64)
    with pytest.raises(ConfigError, match="Row 1 has 10 tokens, and up to 60 more are asked for"):
        settled(max_new_tokens=60).limits(lengths, 64)
    with pytest.raises(ConfigError, match="Row 0 has 64 tokens already; the model reads at most"):
        settled().limits(np.array([64]), 64)
    with pytest.raises(ConfigError, match="must get at least 17 new tokens, but may have at most"):
        settled(min_length=20, max_new_tokens=8).limits(lengths, 64)


def test_tokens_that_are_not_in_the_vocabulary_are_refused(model):
    ids = prompts(3)[0][None]
    with pytest.raises(ConfigError, match="`suppress_tokens` must hold ids below 60"):
        model.generate(ids, suppress_tokens=[60])


def test_models_without_a_head_for_words_do_not_generate():
    with pytest.raises(ConfigError, match="has no head that guesses the next word"):
        tiny_bert("sequence_classification").generate(torch.tensor([[1, 2]]))


def test_inputs_must_have_tokens(model):
    with pytest.raises(DataError, match="must have the shape"):
        model.generate(torch.zeros(1, 0, dtype=torch.long))
    with pytest.raises(DataError, match="at least one token"):
        model.generate(torch.tensor([[5]]), torch.tensor([[0]]))
    with pytest.raises(DataError, match="has no encoder"):
        model.generate(torch.tensor([[5]]), decoder_input_ids=torch.tensor([[5]]))


def test_rows_must_fit_the_model(model):
    row = prompts(3)[0].numpy()
    with pytest.raises(DataError, match="LlamaForCausalLM has no encoder for sources"):
        generate_rows(model, [row], sources=[row])
    with pytest.raises(DataError, match="LlamaForCausalLM needs prompts"):
        generate_rows(model, None)
    with pytest.raises(DataError, match="Row 1: the prompt has no token"):
        generate_rows(model, [row, row[:0]])
    assert generate_rows(model, []) == []


def test_a_text_starts_with_the_beginning_token(model):
    ids = model.generate(max_new_tokens=3)
    assert ids.tolist() == model.generate(torch.tensor([[0]]), max_new_tokens=3).tolist()


def test_padding_is_told_by_its_token_and_may_stand_on_either_side(model):
    short, long = prompts(3, 6)
    alone = model.generate(short[None], max_new_tokens=6)[0, 3:]
    pad = torch.full((3,), PAD)
    for row in (torch.cat([pad, short]), torch.cat([short, pad])):
        both = model.generate(torch.stack([row, long]), max_new_tokens=6)
        assert both[0, :6].tolist() == row.tolist()
        assert both[0, 6 : 6 + len(alone)].tolist() == alone.tolist()


def test_nan_scores_are_told(tmp_path):
    ours = llama_pair(tmp_path)[1]
    with torch.no_grad():
        ours.head.decoder.weight.fill_(torch.nan)
    with pytest.raises(DataError, match=r"Row 0: the model's scores are not numbers \(NaN\)"):
        ours.generate(torch.tensor([[5, 6]]))


def test_the_file_of_a_model_is_read_and_written_back(tmp_path):
    theirs, _ = llama_pair(tmp_path / "model")
    options = {"eos_token_id": [2, 7], "num_beams": 3, "penalty_alpha": 0.0, "x": {"y": 1}}
    (tmp_path / "model" / GENERATION_FILE).write_text(json.dumps(options))
    ours = load_model(tmp_path / "model")
    assert ours.generation_config.num_beams == 3
    assert ours.generation_config.end_ids == (2, 7)
    assert ours.generation_config.pad_token_id == PAD  # which the file leaves to config.json
    ours.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / GENERATION_FILE).read_text())
    assert {name: saved[name] for name in options} == options
    again = type(theirs).from_pretrained(tmp_path / "saved")
    ids = prompts(4)[0][None]
    assert again.generation_config.num_beams == 3
    assert again.generate(ids, max_new_tokens=5).tolist() == (
        ours.generate(ids, max_new_tokens=5).tolist()
    )


def test_without_a_file_the_configuration_says(tmp_path):
    _, ours = llama_pair(tmp_path / "model")
    (tmp_path / "model" / GENERATION_FILE).unlink()
    ours = load_model(tmp_path / "model")
    assert ours.generation_config.end_ids == (END,)
    ours.generation_config = ours.generation_config.replace(num_beams=2)
    ours.save_pretrained(tmp_path / "saved")
    assert load_model(tmp_path / "saved").generation_config.num_beams == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", CheckpointError, "is not a JSON file"),
        ('{"num_beams": "many"}', ConfigError, "`num_beams` must be of type"),
        ('{"num_beams": 0}', ConfigError, "does not say how to generate"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, text, error, message):
    llama_pair(tmp_path / "model")
    (tmp_path / "model" / GENERATION_FILE).write_text(text)
    ours = load_model(tmp_path / "model")
    with pytest.raises(error, match=message):
        ours.generate(torch.tensor([[5]]))


def test_options_of_others_that_would_matter_are_told(tmp_path, caplog):
    llama_pair(tmp_path / "model")
    options = {"typical_p": 0.5, "guidance_scale": 1.0, "diversity_penalty": None}
    (tmp_path / "model" / GENERATION_FILE).write_text(json.dumps(options))
    load_model(tmp_path / "model").generate(torch.tensor([[5]]))
    assert [record.message for record in caplog.records] == [
        "The model asks for `typical_p=0.5`, which is not followed."
    ]
