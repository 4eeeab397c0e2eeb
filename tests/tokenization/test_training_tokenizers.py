from pathlib import Path

import pytest

from abrazo.errors import ConfigError, DataError
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.tokenization.training import train_tokenizer

TEXTS = ["The lower film was the lowest.", "这部电影很好看，很好。", "Slower films were low."] * 5


def corpus(folder: Path) -> Path:
    path = folder / "corpus.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_learned_tokenizer_reads_its_texts_and_comes_back_from_its_folder(tmp_path, kind):
    tokenizer = train_tokenizer(corpus(tmp_path), kind, 330, model_max_length=64)
    assert len(tokenizer) <= 330
    encoded = tokenizer(TEXTS[0])["input_ids"]
    assert tokenizer.unk_token_id not in encoded
    assert encoded[0] == tokenizer.cls_token_id
    assert encoded[-1] == tokenizer.sep_token_id
    assert tokenizer(f"a {tokenizer.mask_token}")["input_ids"][-2] == tokenizer.mask_token_id
    tokenizer.save_pretrained(tmp_path / "saved")
    again = Tokenizer.from_folder(tmp_path / "saved")
    for text in TEXTS[:3]:
        assert again(text, "low")["input_ids"] == tokenizer(text, "low")["input_ids"]
    assert again.model_max_length == 64


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_no_token_has_two_chinese_characters(kind):
    tokenizer = train_tokenizer(TEXTS * 20, kind, 330, is_text=True)
    texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    assert max(sum("一" <= character <= "鿿" for character in text) for text in texts) == 1


def test_words_that_come_often_become_tokens():
    tokenizer = train_tokenizer(TEXTS * 20, "wordpiece", 300, is_text=True)
    assert tokenizer.tokenize("The film") == ["the", "film"]
    cased = train_tokenizer(TEXTS * 20, "wordpiece", 300, is_text=True, lowercase=False)
    assert cased.tokenize("The film") == ["The", "film"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: train_tokenizer(p, "wordpeace"), ConfigError, "Did you mean `wordpiece`"),
        (lambda p: train_tokenizer(p, "bpe", 100), ConfigError, "at least 261 for bpe"),
        (lambda p: train_tokenizer(["", " "], is_text=True), DataError, "no text to learn"),
        (lambda p: train_tokenizer(["a b", 3], is_text=True), DataError, "A text is wanted, not 3"),
        (lambda p: train_tokenizer(p.parent / "absent"), DataError, "absent` cannot be read"),
        (lambda p: train_tokenizer([]), ConfigError, "No file is given"),
    ],
)
def test_what_cannot_be_learned_from_is_named(tmp_path, call, error, message):
    with pytest.raises(error, match=message):
        call(corpus(tmp_path))


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"fine\n" * 100_000 + b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"bad\.txt` is no UTF-8"):
        train_tokenizer(path)
