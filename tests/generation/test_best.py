"""The best words are those of sorting, also in vocabularies that are looked through in parts."""

import pytest
import torch

from abrazo.generation.best import best_words, log_norms


def scores_of(rows: int, vocabulary: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    return (torch.randn(rows, vocabulary, generator=generator) * 4).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("count", [1, 8, 64, 100])
@pytest.mark.parametrize(("rows", "vocabulary"), [(1, 9_001), (16, 9_216), (37, 10_007), (5, 90)])
def test_the_best_words_are_those_of_sorting(rows, vocabulary, count, dtype):
    count = min(count, vocabulary)
    scores = scores_of(rows, vocabulary, dtype)
    expected = scores.float().topk(count, -1).values
    values, words, norms = best_words(scores, count, with_norm=True)
    assert torch.equal(values, expected)
    assert torch.equal(scores.float().gather(1, words), values)
    assert all(len(set(row)) == count for row in words.tolist())
    torch.testing.assert_close(norms, scores.float().logsumexp(-1))
    torch.testing.assert_close(log_norms(scores), norms)


def test_forbidden_words_have_no_part_in_it():
    scores = scores_of(20, 9_001, torch.float32)
    scores[:, 100:] = -torch.inf
    scores[3, :95] = -torch.inf
    values, words, norms = best_words(scores, 8, with_norm=True)
    assert int(words[values > -torch.inf].max()) < 100
    assert values[3].isneginf().sum() == 3
    torch.testing.assert_close(norms, scores.logsumexp(-1))
