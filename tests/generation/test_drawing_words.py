"""Words are drawn by their probability, the same ones alone and in a batch."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.generation import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import generate_rows
from abrazo.generation.drawing import Warper, draw_keys, draw_one, draw_several
from abrazo.generation.settling import settle
from helpers.generation import llama_pair, prompts

DRAWS = 4_000


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Any, Any]:
    return llama_pair(tmp_path_factory.mktemp("llama"), std=0.4)


def settled(**options: Any) -> Any:
    config = GenerationConfig(do_sample=True, **options)
    return settle(config, GenerationConfig(), has_tokenizer=False, streams=False)


WARPED = [
    {"top_k": 0},
    {"top_k": 7},
    {"temperature": 0.5, "top_k": 0},
    {"top_p": 0.6, "top_k": 0},
    {"top_p": 0.9, "top_k": 9, "temperature": 1.7},
    {"min_p": 0.2, "top_k": 0},
    {"min_p": 0.1, "top_p": 0.8, "top_k": 20},
]


@pytest.mark.parametrize("options", WARPED, ids=str)
@pytest.mark.parametrize("beams", [1, 3])
def test_candidates_are_those_of_transformers(options, beams):
    scores = torch.randn(4, 30, generator=torch.Generator().manual_seed(1)) * 2
    keep = 3 if beams > 1 else 1
    theirs = LogitsProcessorList()
    if "temperature" in options:
        theirs.append(TemperatureLogitsWarper(options["temperature"]))
    if options["top_k"]:
        theirs.append(TopKLogitsWarper(options["top_k"], min_tokens_to_keep=keep))
    if "top_p" in options:
        theirs.append(TopPLogitsWarper(options["top_p"], min_tokens_to_keep=keep))
    if "min_p" in options:
        theirs.append(MinPLogitsWarper(options["min_p"], min_tokens_to_keep=keep))
    expected = theirs(torch.zeros(4, 1, dtype=torch.long), scores.clone()).softmax(-1)
    warper = Warper(settled(**options, num_beams=beams, eos_token_id=[1, 2]))
    values, words = scores.topk(warper.num_candidates(30), -1)
    found = torch.zeros_like(scores).scatter(1, words, warper(values).softmax(-1))
    torch.testing.assert_close(found, expected)


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    expected = shares * counts.sum()
    return float(((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum())


def test_one_candidate_is_drawn_by_its_probability():
    scores = torch.tensor([[2.0, 1.0, 0.0, -torch.inf, -1.0]]).expand(DRAWS, -1)
    places = draw_one(scores, 5, 0, np.arange(DRAWS))
    counts = np.bincount(places.numpy(), minlength=5)
    assert counts[3] == 0
    # 99.9% of true draws with 3 degrees of freedom stay below 16.3
    assert chi_square(counts, scores[0].softmax(-1).numpy()) < 16.3


def test_several_candidates_are_drawn_without_replacement():
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = draw_several(np.log(shares)[None].repeat(DRAWS, 0), 2, 3, 0, np.arange(DRAWS))
    assert (drawn[:, 0] != drawn[:, 1]).all()
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (drawn.min(1), drawn.max(1)), 1)
    expected = np.zeros((4, 4))
    for one in range(4):
        for other in range(4):
            if one != other:
                chance = shares[one] * shares[other] / (1 - shares[one])
                expected[min(one, other), max(one, other)] += chance
    upper = np.triu_indices(4, 1)
    # 99.9% of true draws with 5 degrees of freedom stay below 20.5
    assert chi_square(pairs[upper], expected[upper]) < 20.5


def test_texts_are_drawn_as_often_as_they_are_probable(pair):
    theirs, ours = pair
    prompt = prompts(4)[0]
    with torch.no_grad():
        logits = theirs(prompt[None]).logits[0, -1]
    expected = TopKLogitsWarper(6)(None, (logits / 0.8)[None])[0].softmax(-1).numpy()
    options = GenerationConfig(
        do_sample=True, top_k=6, temperature=0.8, max_new_tokens=1, seed=1, num_return_sequences=500
    )
    counts = np.zeros(len(expected))
    for seed in range(4):
        found = generate_rows(ours, [prompt.numpy()], options.replace(seed=seed))
        np.add.at(counts, [int(text.ids[0]) for text in found], 1)
    kept = expected > 0
    assert counts[~kept].sum() == 0
    # 99.9% of true draws with 5 degrees of freedom stay below 20.5
    assert chi_square(counts[kept], expected[kept]) < 20.5


@pytest.mark.parametrize(
    "options",
    [{"num_return_sequences": 3}, {"num_beams": 3}, {"top_k": 0}, {"top_p": 0.8}],
    ids=str,
)
def test_a_prompt_alone_gets_the_texts_it_gets_among_others(pair, options):
    _, ours = pair
    rows = [row.numpy() for row in prompts(5, 2, 9, 5, 1)]
    config = GenerationConfig(do_sample=True, seed=7, max_new_tokens=8, **options)
    together = [text.ids.tolist() for text in generate_rows(ours, rows, config)]
    alone = [text.ids.tolist() for row in rows for text in generate_rows(ours, [row], config)]
    assert together == alone
    few = [text.ids.tolist() for text in generate_rows(ours, rows, config, max_rows=3)]
    assert few == together


def test_equal_prompts_get_texts_of_their_own(pair):
    _, ours = pair
    row = prompts(4)[0].numpy()
    config = GenerationConfig(do_sample=True, seed=7, max_new_tokens=8)
    texts = {tuple(text.ids) for text in generate_rows(ours, [row] * 4, config)}
    assert len(texts) == 4
    (first,) = generate_rows(ours, [row], config)
    assert tuple(first.ids) in texts
    assert draw_keys([row, row], None) != draw_keys([row, row + 1], None)
    assert draw_keys([row], [row])[0] != draw_keys([row], None)[0]


def test_without_a_seed_the_generator_of_torch_says(pair):
    _, ours = pair
    ids = prompts(4)[0][None]

    def drawn(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return ours.generate(ids, do_sample=True, max_new_tokens=8)[0].tolist()

    assert drawn(1) == drawn(1) != drawn(2)


def test_sampling_beams_of_transformers_and_ours_score_alike(pair):
    theirs, ours = pair
    prompt = prompts(5)[0]
    options = {"num_beams": 3, "do_sample": True, "max_new_tokens": 4, "top_k": 10}
    expected = [
        theirs.generate(
            prompt[None], **options, return_dict_in_generate=True, output_scores=True
        ).sequences_scores[0]
        for seed in range(60)
        if transformers.set_seed(seed) is None
    ]
    found = [
        generate_rows(ours, [prompt.numpy()], GenerationConfig(**options, seed=seed))[0].score
        for seed in range(60)
    ]
    both = np.array([expected, found])
    error = both.std(1) / np.sqrt(both.shape[1])
    assert abs(both[0].mean() - both[1].mean()) < 3.5 * np.hypot(*error)
