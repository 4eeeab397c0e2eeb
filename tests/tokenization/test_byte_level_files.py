"""`vocab.json` with `merges.txt` gives the ids of `transformers`."""

import json

import pytest
import transformers
from piece_samples import LINES, odd_texts, plain_texts

import abrazo
from abrazo.errors import TokenizerError
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def content():
    trained = train_tokenizer(LINES, "bpe", vocab_size=450, is_text=True)
    return json.loads(trained.backend.to_str())


def write(folder, content, family, **config):
    folder.mkdir(parents=True, exist_ok=True)
    vocab = dict(content["model"]["vocab"])
    if family in ("GPT2Tokenizer", "Qwen2Tokenizer"):
        vocab = {token: n - 5 for token, n in vocab.items() if n >= 5}
        vocab["<|endoftext|>"] = len(vocab)
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    config = {"tokenizer_class": family, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


FAMILIES = ("GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer", "Qwen2Tokenizer")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spaced", [False, True])
def test_ids_are_those_of_transformers(tmp_path, content, family, spaced):
    folder = write(tmp_path / "a", content, family, add_prefix_space=spaced)
    theirs = getattr(transformers, family).from_pretrained(folder)
    ours = AutoTokenizer.from_folder(folder)
    texts = [*plain_texts(100), *odd_texts(300), "it's we'll 123 \n\n x a"]
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert ours("a", "b")["input_ids"] == theirs("a", "b")["input_ids"]
    rows = ours(texts)["input_ids"]
    assert ours.batch_decode(rows) == theirs.batch_decode(rows)
    ours.save_pretrained(tmp_path / "b")
    assert AutoTokenizer.from_folder(tmp_path / "b")(texts)["input_ids"] == rows
    again = getattr(transformers, family).from_pretrained(tmp_path / "b")
    assert again(texts)["input_ids"] == rows


def test_a_model_or_a_class_says_whose_files_they_are(tmp_path, content):
    folder = write(tmp_path, content, "BartTokenizer")
    (folder / "tokenizer_config.json").unlink()
    assert AutoTokenizer.from_folder(folder)("a").tokens() == ["<s>", "a", "</s>"]
    (folder / "config.json").write_text('{"model_type": "bart"}')
    ours = abrazo.BartTokenizer.from_folder(folder)
    assert ours.settings.original["tokenizer_class"] == "BartTokenizer"
    assert ours.mask_token == "<mask>"


def test_the_mask_takes_the_space_before_it(tmp_path, content):
    """As in RoBERTa's published `tokenizer.json`."""
    ours = AutoTokenizer.from_folder(write(tmp_path, content, "RobertaTokenizer"))
    assert ours("a <mask> b").input_ids[2] == ours.mask_token_id


BAD_MERGES = {
    "three parts": "a b c",
    "one part": "abc",
    "a token that is not there": "qq zz",
    "empty part": "a ",
}


@pytest.mark.parametrize("name", BAD_MERGES)
def test_bad_merges_are_refused(tmp_path, content, name):
    folder = write(tmp_path, content, "GPT2Tokenizer")
    (folder / "merges.txt").write_text(BAD_MERGES[name])
    with pytest.raises(TokenizerError, match=r"merges\.txt"):
        AutoTokenizer.from_folder(folder)


def test_a_lone_vocab_json_is_not_enough(tmp_path, content):
    (write(tmp_path, content, "GPT2Tokenizer") / "merges.txt").unlink()
    with pytest.raises(TokenizerError, match=r"no `vocab\.json` with `merges\.txt`"):
        AutoTokenizer.from_folder(tmp_path)
