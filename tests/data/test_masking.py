import builtins

import numpy as np
import pytest

from abrazo.data.masking import IGNORED, NO_WORD, Masker
from abrazo.errors import ConfigError, DataError, MissingExtraError
from abrazo.tokenization.bert import BertTokenizer
from helpers.tiny import VOCAB, tiny_tokenizer

ROW = "the film was a great film lovely boring 这部电影很好看"


def ids_of(text: str) -> np.ndarray:
    return np.array(tiny_tokenizer()(text)["input_ids"], dtype=np.int32)


def many_masks(masker: Masker, ids: np.ndarray, rounds: int = 3000) -> tuple[np.ndarray, ...]:
    words, generator = masker.words(ids), np.random.default_rng(0)
    drawn = [masker.mask(ids, words, generator) for _ in range(rounds)]
    return np.stack([masked for masked, _ in drawn]), np.stack([targets for _, targets in drawn])


def test_of_the_words_15_percent_are_chosen_and_of_these_80_10_10():
    ids = ids_of(ROW)
    masked, targets = many_masks(Masker(tiny_tokenizer()), ids)
    regular = ids >= 5
    chosen = targets != IGNORED
    assert chosen[:, regular].mean() == pytest.approx(0.15, abs=0.01)
    assert not chosen[:, ~regular].any()
    np.testing.assert_array_equal(np.where(chosen, targets, ids), np.tile(ids, (3000, 1)))
    hidden = (masked == VOCAB.index("[MASK]"))[chosen].mean()
    kept = (masked == ids)[chosen].mean()
    assert hidden == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1 + 0.1 / len(VOCAB), abs=0.015)  # a random one may be the same
    assert not (masked[~chosen] != np.tile(ids, (3000, 1))[~chosen]).any()


def test_random_tokens_are_never_special():
    masked, _ = many_masks(Masker(tiny_tokenizer(), probability=1.0), ids_of("a film"), 2000)
    assert set(np.unique(masked[:, 1:-1])) & set(range(5)) == {VOCAB.index("[MASK]")}


def test_pieces_of_a_word_are_chosen_together():
    ids = ids_of("finely films boringly a")
    masker = Masker(tiny_tokenizer(), whole_words=True, probability=0.3)
    assert masker.words(ids).tolist() == [NO_WORD, 0, 0, 1, 1, 2, 2, 3, NO_WORD]
    _, targets = many_masks(masker, ids, 500)
    chosen = targets != IGNORED
    for first, last in ((1, 2), (3, 4), (5, 6)):
        np.testing.assert_array_equal(chosen[:, first], chosen[:, last])
    assert (chosen[:, 1] != chosen[:, 3]).any()


def test_without_whole_words_each_piece_is_its_own():
    assert Masker(tiny_tokenizer()).words(ids_of("finely films")).tolist() == [-1, 0, 1, 2, 3, -1]


def test_chinese_words_are_chosen_together_where_they_are_wished():
    pytest.importorskip("rjieba")
    ids = ids_of("你住在北京 film 电影")
    characters = Masker(tiny_tokenizer(), whole_words=True).words(ids)
    assert len(set(characters.tolist())) == len(ids) - 1
    words = Masker(tiny_tokenizer(), chinese_words=True).words(ids)
    tokens = tiny_tokenizer().convert_ids_to_tokens(ids.tolist())
    number = dict(zip(tokens, words.tolist(), strict=True))
    assert number["北"] == number["京"]
    assert number["电"] == number["影"]
    assert len({number["住"], number["北"], number["电"], number["film"]}) == 4


def test_a_missing_segmenter_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name == "rjieba":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"abrazo\[chinese\]"):
        Masker(tiny_tokenizer(), chinese_words=True)


def test_what_cannot_be_masked_is_an_error():
    with pytest.raises(ConfigError, match="above 0 and at most 1, but is 0"):
        Masker(tiny_tokenizer(), probability=0)
    with pytest.raises(ConfigError, match="no mask token"):
        Masker(BertTokenizer([token for token in VOCAB if token != "[MASK]"]))
    with pytest.raises(DataError, match=f"0 to {len(VOCAB) - 1}.*one is 9000"):
        Masker(tiny_tokenizer()).words(np.array([2, 9000, 3]))
