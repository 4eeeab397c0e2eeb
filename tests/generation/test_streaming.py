"""Texts come as they are written: in whole characters, and without stop strings."""

import io
import threading

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import ConfigError, DataError
from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import generate_rows
from abrazo.generation.stopping import cut_at_stop
from abrazo.generation.streaming import (
    Detokenizer,
    TextIteratorStreamer,
    TextStreamer,
    stream,
)
from abrazo.models.llama import LlamaConfig, LlamaForCausalLM
from abrazo.tokenization.tokenizer import Tokenizer
from helpers.tiny import scramble, tiny_tokenizer


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer with a token for each byte, an end token, and one of two bytes."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {"</s>": 0, **{letter: number for number, letter in enumerate(alphabet, 1)}}
    vocab["th"] = len(vocab)
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[("t", "h")]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["</s>"])
    return Tokenizer(backend)


BYTES = byte_tokenizer()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=BYTES.vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=0,
    )
    made = LlamaForCausalLM(config)
    scramble(made, std=0.4)
    made.tokenizer = BYTES
    return made.eval()


def pieces_of(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*[detokenizer.add(token) for token in ids], detokenizer.finish()]


def test_a_character_of_several_tokens_comes_whole():
    pieces = pieces_of(Detokenizer(BYTES), BYTES.encode("这部电影 is great"))
    assert "".join(pieces) == "这部电影 is great"
    assert pieces[:6] == ["", "", "这", "", "", "部"]


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_pieces_make_up_the_text(text):
    ids = BYTES.encode(text)
    pieces = pieces_of(Detokenizer(BYTES), ids)
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@given(st.lists(st.integers(0, BYTES.vocab_size - 1), max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_pieces_of_any_tokens_make_up_their_text(ids):
    pieces = pieces_of(Detokenizer(BYTES), ids)
    assert "".join(pieces) == BYTES.decode(ids, skip_special_tokens=True)


def test_spaces_between_words_come_with_the_words():
    tokenizer = tiny_tokenizer()
    ids = tokenizer("the film was great.", add_special_tokens=False)["input_ids"]
    assert pieces_of(Detokenizer(tokenizer), ids)[:3] == ["the", " film", " was"]


@given(st.text(alphabet="abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4)))
@settings(max_examples=100, deadline=None)
def test_nothing_of_a_stop_string_is_given_out(text, stops):
    pieces = pieces_of(Detokenizer(BYTES, stop_strings=stops), BYTES.encode(text))
    beginnings = [text[:end] for end in range(len(text) + 1)]
    ended = [some for some in beginnings if any(stop in some for stop in stops)]
    assert "".join(pieces) == (cut_at_stop(ended[0], stops) if ended else text)


def test_text_that_is_no_stop_string_after_all_is_given_out():
    pieces = pieces_of(Detokenizer(BYTES, stop_strings=["END."]), BYTES.encode("an ENDING"))
    assert "".join(pieces) == "an ENDING"
    assert "EN" not in "".join(pieces[:5])


def test_a_stream_is_the_text_of_generate(model):
    options = {"max_new_tokens": 24}
    written = "".join(stream(model, "the film", **options))
    ids = model.generate(torch.tensor([BYTES.encode("the film")]), **options)
    new = ids[0, len(BYTES.encode("the film")) :]
    assert written == BYTES.decode(new, skip_special_tokens=True)
    assert len(written) > 4


def stop_of(model: LlamaForCausalLM) -> str:
    """Return some characters of what the model writes."""
    text = "".join(stream(model, "the film", max_new_tokens=24))
    (place,) = [i for i in range(4, len(text)) if text[i].isprintable()][:1]
    return text[place : place + 2]


def test_a_stop_string_ends_a_row_and_is_left_out_of_streams(model):
    stop = stop_of(model)
    prompt = [torch.tensor(BYTES.encode("the film")).numpy()]
    options = GenerationConfig(max_new_tokens=24, stop_strings=["never seen", stop])
    (found,) = generate_rows(model, prompt, options, tokenizer=BYTES)
    assert found.finish_reason == "stop_string"
    assert stop in BYTES.decode(found.ids)
    assert stop not in BYTES.decode(found.ids[:-1])
    whole = "".join(stream(model, "the film", max_new_tokens=24))
    written = "".join(stream(model, "the film", generation_config=options))
    assert written == whole[: whole.index(stop)]


def test_a_stop_string_ends_beams(model):
    prompt = [torch.tensor(BYTES.encode("the film")).numpy()]
    options = GenerationConfig(max_new_tokens=12, num_beams=3)
    (plain,) = generate_rows(model, prompt, options, tokenizer=BYTES)
    stop = chr(BYTES.decode(plain.ids).encode("utf-8", "replace")[2])
    found = generate_rows(
        model, prompt, options.replace(stop_strings=stop, num_return_sequences=3), tokenizer=BYTES
    )
    for text in found:
        written = BYTES.decode(text.ids)
        assert (text.finish_reason == "stop_string") == (stop in written)
        assert stop not in BYTES.decode(text.ids[:-1])


def test_a_streamer_gets_the_prompt_and_each_token(model):
    class Noting:
        def __init__(self):
            self.values, self.has_ended = [], False

        def put(self, value):
            self.values.append(value.tolist())

        def end(self):
            self.has_ended = True

    noting = Noting()
    prompt = torch.tensor([BYTES.encode("the film")])
    ids = model.generate(prompt, max_new_tokens=5, streamer=noting)
    assert noting.values[0] == prompt.tolist()
    assert noting.values[1:] == [[token] for token in ids[0, prompt.shape[1] :].tolist()]
    assert noting.has_ended


def test_a_text_streamer_prints(model):
    prompt = torch.tensor([BYTES.encode("the film")])
    expected = model.generate(prompt, max_new_tokens=9)[0]
    file = io.StringIO()
    model.generate(prompt, max_new_tokens=9, streamer=TextStreamer(BYTES, file=file))
    assert file.getvalue() == BYTES.decode(expected, skip_special_tokens=True) + "\n"
    without = io.StringIO()
    streamer = TextStreamer(BYTES, skip_prompt=True, file=without)
    model.generate(prompt, max_new_tokens=9, streamer=streamer)
    assert "the film" + without.getvalue() == file.getvalue()


def test_an_iterator_hands_out_what_another_thread_writes(model):
    prompt = torch.tensor([BYTES.encode("the film")])
    streamer = TextIteratorStreamer(BYTES, skip_prompt=True, timeout=20)
    options = {"max_new_tokens": 9, "streamer": streamer}
    thread = threading.Thread(target=model.generate, args=(prompt,), kwargs=options)
    thread.start()
    written = "".join(streamer)
    thread.join()
    assert written == "".join(stream(model, "the film", max_new_tokens=9))


def test_a_stream_has_one_row(model):
    streamer = TextStreamer(BYTES)
    two = torch.tensor([BYTES.encode("ab"), BYTES.encode("cd")])
    with pytest.raises(ConfigError, match="one row at a time"):
        model.generate(two, streamer=streamer)
    with pytest.raises(ConfigError, match="`num_beams` must be 1, but is 3"):
        model.generate(two[:1], streamer=streamer, num_beams=3)
    with pytest.raises(DataError, match="has one row"):
        streamer.put(two)


def test_the_model_trains_on_after_a_stream_that_is_left(model):
    model.train()
    pieces = stream(model, "the film", max_new_tokens=9)
    next(pieces)
    pieces.close()
    assert model.training
    model.eval()
