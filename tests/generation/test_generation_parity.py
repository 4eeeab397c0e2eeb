"""`generate` writes the same tokens as `transformers`, option by option."""

from typing import Any

import pytest
import torch

from helpers.generation import (
    END,
    PAD,
    VOCAB_SIZE,
    both,
    left_padded,
    llama_pair,
    prompts,
    right_padded,
    seq2seq_model,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using the model-agnostic default")

GREEDY: list[dict[str, Any]] = [
    {},
    {"max_new_tokens": 12},
    {"max_new_tokens": 12, "min_new_tokens": 6},
    {"max_new_tokens": 12, "repetition_penalty": 1.4},
    {"max_new_tokens": 20, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 12, "suppress_tokens": [7, 9, 11]},
    {"max_new_tokens": 12, "begin_suppress_tokens": list(range(3, 40))},
    {"max_new_tokens": 12, "bad_words_ids": [[5], [8], [40, 41]]},
    {"max_new_tokens": 6, "forced_eos_token_id": END},
    {"max_new_tokens": 9, "eos_token_id": list(range(2, 20)), "min_new_tokens": 3},
    {"max_new_tokens": 8, "repetition_penalty": 0.7, "no_repeat_ngram_size": 3},
]
BEAMS: list[dict[str, Any]] = [
    {"num_beams": 4, "max_new_tokens": 10},
    {"num_beams": 3, "max_new_tokens": 10, "num_return_sequences": 3},
    {"num_beams": 4, "max_new_tokens": 12, "early_stopping": True},
    {"num_beams": 4, "max_new_tokens": 12, "early_stopping": "never", "length_penalty": 0.0},
    {"num_beams": 4, "max_new_tokens": 12, "early_stopping": "never", "length_penalty": 2.0},
    {"num_beams": 4, "max_new_tokens": 12, "length_penalty": -1.0},
    {"num_beams": 5, "max_new_tokens": 14, "length_penalty": 0.5, "num_return_sequences": 5},
    {"num_beams": 4, "max_new_tokens": 12, "min_new_tokens": 5},
    {"num_beams": 4, "max_new_tokens": 12, "repetition_penalty": 1.5},
    {"num_beams": 4, "max_new_tokens": 12, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "max_new_tokens": 8, "forced_eos_token_id": END},
    {"num_beams": 4, "max_new_tokens": 12, "suppress_tokens": [7, 9], "renormalize_logits": True},
    {"num_beams": 4, "max_new_tokens": 12, "bad_words_ids": [[5], [8], [40, 41]]},
    {"num_beams": 2, "max_new_tokens": 12, "eos_token_id": [2, 5, 6, 7]},
    {"num_beams": 4, "max_new_tokens": 9, "eos_token_id": list(range(2, 20))},
    {"num_beams": 20, "max_new_tokens": 5, "num_return_sequences": 20},
]


def named(options: dict[str, Any]) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items())[:80] or "default"


def pad_to(ids: torch.Tensor, columns: int) -> torch.Tensor:
    return torch.nn.functional.pad(ids, (0, columns - ids.shape[1]), value=PAD)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    columns = max(found.shape[1], expected.shape[1])
    assert pad_to(found, columns).tolist() == pad_to(expected, columns).tolist()


@pytest.fixture(scope="module", params=[0.3, 0.5], ids=["flat", "sharp"])
def pair(request, tmp_path_factory):
    return llama_pair(tmp_path_factory.mktemp("llama"), std=request.param)


@pytest.mark.parametrize("options", [*GREEDY, *BEAMS], ids=named)
@pytest.mark.parametrize("lengths", [(5,), (3, 9, 5, 1)], ids=["alone", "batch"])
def test_the_tokens_are_those_of_transformers(pair, options, lengths):
    theirs, ours = pair
    batch = left_padded(prompts(*lengths))
    expected = theirs.generate(**batch, **options, do_sample=False)
    assert_same(ours.generate(**batch, **options), expected)


def test_max_length_and_min_length_count_the_prompt(pair):
    theirs, ours = pair
    batch = left_padded(prompts(5))
    options = {"max_length": 11, "min_length": 9}
    assert_same(ours.generate(**batch, **options), theirs.generate(**batch, **options))
    assert ours.generate(**batch, max_length=6).shape == (1, 6)


@pytest.fixture(scope="module", params=["bart", "marian", "t5"])
def seq2seq_pair(request, tmp_path_factory):
    return both(seq2seq_model(request.param), tmp_path_factory.mktemp("model"), std=0.4)


@pytest.mark.parametrize("options", [*GREEDY[:6], GREEDY[-1], *BEAMS[:6], BEAMS[-3]], ids=named)
@pytest.mark.parametrize("lengths", [(5,), (3, 9, 5, 1)], ids=["alone", "batch"])
def test_the_tokens_of_encoder_decoders_are_those_of_transformers(seq2seq_pair, options, lengths):
    theirs, ours = seq2seq_pair
    batch = right_padded(prompts(*lengths), PAD)
    expected = theirs.generate(**batch, **options, do_sample=False)
    assert_same(ours.generate(**batch, **options), expected)


def test_the_decoder_goes_on_from_what_it_is_given(seq2seq_pair):
    theirs, ours = seq2seq_pair
    batch = right_padded(prompts(4, 6), PAD)
    given = torch.stack(prompts(3, 3, seed=5))
    for beams in (1, 3):
        options = {"max_new_tokens": 7, "num_beams": beams, "decoder_input_ids": given}
        assert_same(ours.generate(**batch, **options), theirs.generate(**batch, **options))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_function_says_what_may_follow(pair, beams):
    theirs, ours = pair
    batch = left_padded(prompts(4, 4))

    def allowed(number: int, ids: torch.Tensor) -> list[int]:
        return [END, *range(3 + number, VOCAB_SIZE, 2 + int(ids[-1]) % 3)]

    options = {"max_new_tokens": 8, "num_beams": beams, "prefix_allowed_tokens_fn": allowed}
    assert_same(ours.generate(**batch, **options), theirs.generate(**batch, **options))


def test_scores_of_beams_are_those_of_transformers(pair):
    import numpy as np

    from abrazo.generation.config import GenerationConfig
    from abrazo.generation.decoding import generate_rows

    theirs, ours = pair
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 9}
    rows = prompts(6, 2)
    expected = theirs.generate(
        **left_padded(rows), **options, return_dict_in_generate=True, output_scores=True
    )
    found = generate_rows(ours, [row.numpy() for row in rows], GenerationConfig(**options))
    scores = np.array([text.score for text in found])
    np.testing.assert_allclose(scores, expected.sequences_scores.numpy(), atol=1e-5)
