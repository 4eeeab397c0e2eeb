"""Languages of translation models: where their tokens stand, and which there are."""

import json
import threading

import pytest
import transformers
from piece_samples import plain_texts, write_family, write_m2m, write_marian

from abrazo.errors import ConfigError
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.families import TranslationTokenizer

NLLB = {"additional_special_tokens": ["deu_Latn", "eng_Latn", "zho_Hans"]}
PAIRS = {
    "MBartTokenizer": ("en_XX", "zh_CN"),
    "MBart50Tokenizer": ("zh_CN", "gl_ES"),
    "NllbTokenizer": ("zho_Hans", "deu_Latn"),
    "M2M100Tokenizer": ("zh", "de"),
}


def write(folder, family, **config):
    if family == "M2M100Tokenizer":
        return write_m2m(folder, **config)
    return write_family(folder, family, **(NLLB if family == "NllbTokenizer" else {}), **config)


@pytest.fixture(params=PAIRS)
def family(request):
    return request.param


def loaded(tmp_path, family, **config):
    """Return the tokenizer that transformers makes of what ours writes, and ours."""
    ours = AutoTokenizer.from_folder(write(tmp_path / "first", family))
    ours.save_pretrained(tmp_path / "saved")
    theirs = getattr(transformers, family).from_pretrained(tmp_path / "saved", **config)
    return theirs, ours


def test_both_sides_are_framed_as_in_transformers(tmp_path, family):
    source, target = PAIRS[family]
    theirs, ours = loaded(tmp_path, family, src_lang=source, tgt_lang=target)
    ours.src_lang, ours.tgt_lang = source, target
    texts = [text for text in plain_texts(50) if "，" not in text]
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    labels = theirs(text_target=texts)["input_ids"]
    assert ours(text_target=texts)["input_ids"] == labels
    assert ours.target.encode_rows(texts, max_length=None).lengths.tolist() == [*map(len, labels)]
    both = ours(texts, text_target=texts)
    assert both["labels"] == labels
    assert both["input_ids"] == ours(texts)["input_ids"]
    assert ours.get_lang_id(target) == theirs.convert_tokens_to_ids(ours.languages.tokens[target])
    assert ours.lang_code_to_id[source] == ours.get_lang_id(source)
    assert ours("a", "b")["input_ids"] == theirs("a", "b")["input_ids"]
    count = ours.num_special_tokens_to_add()
    assert len(ours("a", add_special_tokens=False)["input_ids"]) + count == len(ours("a").input_ids)
    assert ours.batch_decode(labels, skip_special_tokens=True) == [
        ours.decode(row, skip_special_tokens=True) for row in labels
    ]
    assert ours.tgt_lang not in ours.decode(labels[0], skip_special_tokens=True)


def test_languages_are_kept_with_the_tokenizer(tmp_path, family):
    source, target = PAIRS[family]
    ours = TranslationTokenizer.from_folder(write(tmp_path / "a", family))
    ours.src_lang, ours.tgt_lang = source, target
    ours.save_pretrained(tmp_path / "b")
    again = TranslationTokenizer.from_folder(tmp_path / "b")
    assert (again.src_lang, again.tgt_lang) == (source, target)
    assert again("hello", text_target="hello").data == ours("hello", text_target="hello").data
    theirs = getattr(transformers, family).from_pretrained(tmp_path / "b")
    assert theirs("hello")["input_ids"] == ours("hello")["input_ids"]


def test_without_a_language_the_usual_one_is_read_and_none_is_written(tmp_path, family):
    ours = AutoTokenizer.from_folder(write(tmp_path, family))
    assert ours.src_lang in ("en_XX", "eng_Latn", "en")
    assert ours.tgt_lang is None
    with pytest.raises(ConfigError, match=r"set `tokenizer\.tgt_lang` to one of the model's"):
        ours(text_target="hello")


@pytest.mark.parametrize(
    ("family", "wrong", "near"),
    [
        ("MBartTokenizer", "en", "en_XX"),
        ("MBartTokenizer", "zh_TW", "zh_CN"),
        ("NllbTokenizer", "deu", "deu_Latn"),
        ("M2M100Tokenizer", "english", "en"),
    ],
)
def test_a_language_that_is_not_there_names_the_nearest_and_some(tmp_path, family, wrong, near):
    ours = AutoTokenizer.from_folder(write(tmp_path, family))
    count = len(ours.lang_code_to_id)
    for ask in (
        lambda: setattr(ours, "src_lang", wrong),
        lambda: setattr(ours, "tgt_lang", wrong),
        lambda: ours.get_lang_id(wrong),
    ):
        with pytest.raises(
            ConfigError, match=rf"no language '{wrong}'.*Did you mean `{near}`\? It has {count}: "
        ):
            ask()


def test_older_nllb_puts_the_language_behind(tmp_path):
    folder = write(tmp_path, "NllbTokenizer", legacy_behaviour=True, src_lang="deu_Latn")
    ours = AutoTokenizer.from_folder(folder)
    assert ours("hello").tokens()[-2:] == ["</s>", "deu_Latn"]


def test_a_tokenizer_json_of_others_has_its_languages(tmp_path):
    theirs, _ = loaded(tmp_path, "MBart50Tokenizer", src_lang="zh_CN", tgt_lang="en_XX")
    theirs.save_pretrained(tmp_path / "theirs")
    ours = AutoTokenizer.from_folder(tmp_path / "theirs")
    assert (ours.src_lang, ours.tgt_lang) == ("zh_CN", "en_XX")
    assert len(ours.lang_code_to_id) == 52
    assert ours(["你好"])["input_ids"] == theirs(["你好"])["input_ids"]
    assert ours(text_target="hello")["input_ids"] == theirs(text_target="hello")["input_ids"]


def test_models_of_one_language_have_none_and_one_side(tmp_path):
    ours = AutoTokenizer.from_folder(write_family(tmp_path / "t5", "T5Tokenizer"))
    assert (ours.src_lang, ours.tgt_lang, ours.lang_code_to_id) == (None, None, {})
    assert ours.target is ours
    assert ours("a", text_target="b")["labels"] == ours("b")["input_ids"]
    with pytest.raises(ConfigError, match="no languages to choose from"):
        ours.src_lang = "en"
    marian = AutoTokenizer.from_folder(write_marian(tmp_path / "marian"))
    assert marian.lang_code_to_id == {}
    assert marian.target is not marian


def test_a_language_nobody_has_in_a_config_is_left_alone(tmp_path):
    folder = write(tmp_path, "MBartTokenizer", src_lang=None, tgt_lang="tlh")
    assert AutoTokenizer.from_folder(folder).tgt_lang is None
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tgt_lang"] == "tlh"


def test_both_sides_encode_in_threads(tmp_path):
    ours = AutoTokenizer.from_folder(write(tmp_path, "M2M100Tokenizer", tgt_lang="de"))
    texts = plain_texts(50)
    expected = ours(texts, text_target=texts).data
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(ours(texts, text_target=texts).data))
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 8
