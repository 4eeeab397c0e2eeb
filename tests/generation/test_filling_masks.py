"""Writing with models that only fill gaps."""

import numpy as np
import pytest
import torch

from abrazo.errors import ConfigError, DataError, TokenizerError
from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import generate_rows
from abrazo.generation.streaming import stream
from abrazo.models.base import PretrainedModel
from helpers.tiny import tiny_bert, tiny_tokenizer

MASK, SEP, CLS, PAD = 4, 3, 2, 0
PROMPTS = torch.tensor([[CLS, 12, 13, SEP, PAD], [CLS, 20, 21, 22, SEP]])


@pytest.fixture(scope="module")
def model() -> PretrainedModel:
    made = tiny_bert("masked_lm", seed=1)
    for name, weight in made.state_dict().items():
        if name.endswith("bias"):
            weight.zero_()  # or one word would be the likeliest everywhere
    made.tokenizer = tiny_tokenizer()
    return made


def filled_by_hand(model: PretrainedModel, row: list[int], count: int) -> list[int]:
    """Fill so many gaps before the last token, the leftmost first."""
    row = [*row[:-1], *[MASK] * count, row[-1]]
    for place in range(len(row) - 1 - count, len(row) - 1):
        with torch.no_grad():
            scores = model(torch.tensor([row])).logits[0, place]
        scores[[0, 1, 2, 3, 4]] = -torch.inf  # special tokens
        row[place] = int(scores.argmax())
    return row


def test_gaps_are_filled_from_the_left_before_the_end(model: PretrainedModel) -> None:
    found = model.generate(PROMPTS, max_length=10, num_return_sequences=1)
    assert found.shape == (2, 10)
    assert found[0].tolist() == filled_by_hand(model, [CLS, 12, 13, SEP], 6)
    assert len(set(found[0].tolist())) > 5
    assert found[1].tolist() == filled_by_hand(model, PROMPTS[1].tolist(), 5)


def test_rows_alone_and_texts_without_an_end_are_written_too(model: PretrainedModel) -> None:
    together = model.generate(PROMPTS, max_new_tokens=4)
    for row, expected in zip(PROMPTS, together, strict=True):
        alone = model.generate(row[row != PAD][None], max_new_tokens=4)
        assert alone[0].tolist() == expected[: alone.shape[1]].tolist()
    without = model.generate(torch.tensor([[CLS, 12, 13]]), max_new_tokens=3)
    ended = model.generate(torch.tensor([[CLS, 12, 13, SEP]]), max_new_tokens=3)
    assert without.tolist() == ended[:, :-1].tolist()
    assert not set(without[0, 3:].tolist()) & {0, 1, 2, 3, 4}


def test_rows_as_long_as_the_model_reads_are_written(model: PretrainedModel) -> None:
    found = model.generate(torch.tensor([[CLS, 12]]), max_length=64)
    assert found.shape == (1, 64)


def test_rows_of_any_length_and_streams_say_the_same(model: PretrainedModel) -> None:
    padded = model.generate(PROMPTS, max_new_tokens=4).tolist()
    prompts = [np.array([CLS, 12, 13]), np.array([CLS, 20, 21, 22, SEP])]
    written = generate_rows(model, prompts, GenerationConfig(max_new_tokens=4), max_rows=1)
    assert [text.ids.tolist() for text in written] == [padded[0][3:7], padded[1][4:8]]
    text = model.tokenizer.decode([12, 13])
    pieces = stream(model, text, max_new_tokens=4)
    assert "".join(pieces).split() == model.tokenizer.decode(padded[0][3:7]).split()


def test_words_are_drawn_several_times_and_again_by_the_seed(model: PretrainedModel) -> None:
    options = {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 6, "seed": 5}
    found = model.generate(PROMPTS, **options)
    assert found.shape == (6, 11)
    assert len({tuple(row) for row in found.tolist()}) == 6
    assert torch.equal(found, model.generate(PROMPTS, **options))


def test_options_mean_what_they_mean_elsewhere(model: PretrainedModel) -> None:
    once = model.generate(PROMPTS, max_new_tokens=8, no_repeat_ngram_size=1)
    for row in once.tolist():
        words = [token for token in row if token not in (PAD, CLS, SEP)]
        assert len(words) == len(set(words))
    best = model.generate(PROMPTS, max_new_tokens=4, num_beams=3)
    assert best.shape == (2, 9)


def test_what_cannot_be_is_told(model: PretrainedModel) -> None:
    with pytest.raises(ConfigError, match="reads at most 64"):
        model.generate(PROMPTS, max_new_tokens=100)
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        tiny_bert("masked_lm").generate(PROMPTS)
    damaged = tiny_bert("masked_lm", tie_word_embeddings=False)
    damaged.tokenizer = tiny_tokenizer()
    damaged.state_dict()["backbone.embeddings.tokens.weight"][12] = torch.nan
    with pytest.raises(DataError, match=r"Row [01]: the model's scores are not numbers \(NaN\)"):
        damaged.generate(PROMPTS, do_sample=True, num_return_sequences=2, max_new_tokens=2)
    with pytest.raises(ConfigError, match="does not generate"):
        tiny_bert("sequence_classification").generate(PROMPTS)
