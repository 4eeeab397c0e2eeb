from collections import Counter
from pathlib import Path

import pytest
import torch

from abrazo.data import corpus as corpus_module
from abrazo.data.corpus import Corpus
from abrazo.data.rows import RowSource
from abrazo.data.sentence_pairs import SentencePairs
from abrazo.data.text_datasets import LineByLineTextDataset, TextDataset
from abrazo.errors import ConfigError, DataError
from helpers.tiny import WORDS, tiny_tokenizer


def write(folder: Path, text: str | bytes, name: str = "corpus.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def documents(count: int = 20, lines: int = 5) -> str:
    texts = []
    for number in range(count):
        word = WORDS[number % len(WORDS)]
        texts.append("\n".join(f"{word} is film {place}. It was 好。" for place in range(lines)))
    return "\n\n".join(texts) + "\n"


def joined(source) -> str:
    return "".join("".join(row["text"].split()) for row in source.rows(range(len(source))))


@pytest.mark.parametrize("block_bytes", [1, 60, 10_000])
@pytest.mark.parametrize("has_index", [False, True])
def test_blocks_hold_every_line_once_and_end_with_documents(tmp_path, block_bytes, has_index):
    text = documents()
    files = [write(tmp_path, text), write(tmp_path, "\n\nlast one", "b.txt")]
    index = tmp_path / "index" if has_index else None
    corpus = Corpus(files, block_bytes=block_bytes, index_folder=index)
    assert isinstance(corpus, RowSource)
    assert joined(corpus) == "".join((text + "last one").split())
    assert corpus.num_documents == 21
    by_document = Counter(corpus.document(number) for number in range(len(corpus)))
    assert len(by_document) == 21
    if block_bytes == 10_000:
        assert set(by_document.values()) == {1}
    assert corpus.origin(len(corpus) - 1) == "b.txt, byte 2"


def test_the_index_is_made_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    file, index = write(tmp_path, documents()), tmp_path / "index"
    first = Corpus(file, block_bytes=50, index_folder=index)
    monkeypatch.setattr(Corpus, "_stretches", lambda self: pytest.fail("made twice"))
    again = Corpus(file, block_bytes=50, index_folder=index)
    assert [again.text(n) for n in range(len(again))] == [first.text(n) for n in range(len(first))]
    monkeypatch.undo()
    write(tmp_path, "another\n")
    assert len(Corpus(file, block_bytes=50, index_folder=index)) == 1


def test_a_very_long_line_is_cut_between_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "MAX_LINE", 10)
    corpus = Corpus(write(tmp_path, "这部电影很好看" * 9), block_bytes=1)
    assert joined(corpus) == "这部电影很好看" * 9


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no line of text"), (b"\n \n", "no line of text"), (b"\xff\xfe\xfa abc", "no UTF-8")],
)
def test_files_without_text_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        Corpus(write(tmp_path, content)).text(0)
    with pytest.raises(DataError, match=r"absent\.txt"):
        Corpus(tmp_path / "absent.txt")


def test_half_of_the_pairs_follow_each_other_and_nothing_is_lost(tmp_path):
    corpus = Corpus(write(tmp_path, documents()), block_bytes=60)
    pairs = SentencePairs(corpus)
    rows = pairs.rows(range(len(pairs)))
    assert Counter(row["next_sentence_label"] for row in rows) == {
        0: len(corpus),
        1: len(corpus),
    }
    for number, row in enumerate(rows):
        text = corpus.text(number // 2)
        assert row["text"]
        assert row["text_pair"]
        assert text.startswith(row["text"])
        if row["next_sentence_label"] == 0:
            assert text.endswith(row["text_pair"])
            assert "".join((row["text"] + row["text_pair"]).split()) == "".join(text.split())
    assert pairs.rows([7, 3]) == [rows[7], rows[3]]
    assert SentencePairs(corpus, seed=1).rows(range(9)) != rows[:9]


def test_random_texts_are_of_other_documents(tmp_path):
    text = "\n\n".join(f"{w} a. {w} b. {w} c." for w in ("film", "plot", "end"))
    pairs = SentencePairs(Corpus(write(tmp_path, text)))
    for row in pairs.rows(range(1, len(pairs), 2)):
        assert row["text"].split()[0] != row["text_pair"].split()[0]


def test_sentence_order_swaps_the_parts(tmp_path):
    pairs = SentencePairs(Corpus(write(tmp_path, "One is. Two is. Three is.")), negatives="swapped")
    swapped = pairs.rows([1])[0]
    assert f"{swapped['text_pair']} {swapped['text']}" == "One is. Two is. Three is."


def test_random_texts_need_two_documents(tmp_path):
    with pytest.raises(DataError, match=r"at least two documents.*\n?.*swapped"):
        SentencePairs(Corpus(write(tmp_path, "One. Two.")))


@pytest.mark.parametrize("kind", [TextDataset, LineByLineTextDataset])
def test_text_datasets_keep_every_token(tmp_path, kind):
    text = "the film was good .\n\na plot " + "very " * 30 + "\n这部电影\n"
    files = [write(tmp_path, text), write(tmp_path, "the end", "b.txt")]
    tokenizer = tiny_tokenizer()
    data = kind(tokenizer=tokenizer, files=files, block_size=9)
    rows = [data[number]["input_ids"] for number in range(len(data))]
    assert all(row[0] == 2 and row[-1] == 3 and len(row) <= 9 for row in rows)
    inner = torch.cat([row[1:-1] for row in rows]).tolist()
    assert inner == tokenizer(text + "the end", add_special_tokens=False)["input_ids"]
    assert data.origin(len(data) - 1) == "b.txt, row 1"
    assert isinstance(data, RowSource)


def test_text_datasets_take_one_file_by_its_other_name(tmp_path):
    file = write(tmp_path, "a film\nthe plot\n")
    lines = LineByLineTextDataset(tiny_tokenizer(), file_path=str(file), block_size=16)
    assert len(lines) == 2
    assert len(TextDataset(tiny_tokenizer(), file, 16)) == 1


def test_text_datasets_tell_what_is_wrong(tmp_path):
    tokenizer, file = tiny_tokenizer(), write(tmp_path, " \n")
    with pytest.raises(ConfigError, match="one of `files` and `file_path`"):
        TextDataset(tokenizer)
    with pytest.raises(ConfigError, match="at least 3"):
        TextDataset(tokenizer, file, block_size=2)
    with pytest.raises(DataError, match="no text"):
        LineByLineTextDataset(tokenizer, file)
    with pytest.raises(DataError, match="no UTF-8"):
        TextDataset(tokenizer, write(tmp_path, b"\xff\xff"))
