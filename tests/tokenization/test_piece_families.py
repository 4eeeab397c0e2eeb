"""Folders with SentencePiece files give the ids of `transformers`, and are saved for it."""

import json
import logging
import pickle
from itertools import chain

import pytest
import transformers
from piece_samples import (
    FILES,
    model_bytes,
    odd_texts,
    plain_texts,
    processor,
    train,
    write_family,
    write_m2m,
    write_marian,
)

import abrazo
from abrazo.errors import TokenizerError
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.families import TranslationTokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CONFIGS = {
    "LlamaTokenizer": {"add_bos_token": True, "legacy": True},
    "GemmaTokenizer": {"add_bos_token": True, "mask_token": None},
    "NllbTokenizer": {"additional_special_tokens": ["deu_Latn", "eng_Latn", "zho_Hans"]},
    "MarianTokenizer": {},
    "M2M100Tokenizer": {},
}
FAMILIES = [*FILES, "MarianTokenizer", "M2M100Tokenizer"]


def write(folder, family, **config):
    config = {**CONFIGS.get(family, {}), **config}
    if family == "MarianTokenizer":
        return write_marian(folder, **config)
    if family == "M2M100Tokenizer":
        return write_m2m(folder, **config)
    return write_family(folder, family, **config)


def texts_of(family):
    texts = plain_texts()
    # Its class in transformers 5 leaves out the table of characters, which the file has.
    return [text for text in texts if "，" not in text] if family == "MBartTokenizer" else texts


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def pair(family, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp(family), family)
    theirs = getattr(transformers, family).from_pretrained(folder)
    return theirs, AutoTokenizer.from_folder(folder)


def test_ids_and_texts_are_those_of_transformers(family, pair):
    theirs, ours = pair
    texts = texts_of(family)
    # From this file alone transformers 5 gives NLLB's languages other ids than checkpoints have.
    options = {"add_special_tokens": family != "NllbTokenizer"}
    assert ours(texts, **options)["input_ids"] == theirs(texts, **options)["input_ids"]
    pairs = texts[:9], texts[9:18]
    assert ours(*pairs, **options)["input_ids"] == theirs(*pairs, **options)["input_ids"]
    assert len(ours) >= len(ours.get_vocab()) > 250
    bare = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert ours.batch_decode(bare) == theirs.batch_decode(bare)
    assert ours.padding_side == theirs.padding_side
    for role in ("eos_token", "pad_token", "unk_token"):
        assert getattr(ours, role) == getattr(theirs, role)


def test_what_is_saved_gives_the_same_in_transformers_and_here(family, pair, tmp_path):
    _, ours = pair
    ours.save_pretrained(tmp_path)
    texts = texts_of(family)
    rows = ours(texts)["input_ids"]
    assert getattr(transformers, family).from_pretrained(tmp_path)(texts)["input_ids"] == rows
    again = AutoTokenizer.from_folder(tmp_path)
    texts = [*texts, *odd_texts(100)]
    assert again(texts)["input_ids"] == ours(texts)["input_ids"]
    assert again.special_tokens_map == ours.special_tokens_map
    assert again.settings.extra_special_tokens == ours.settings.extra_special_tokens
    assert again.padding_side == ours.padding_side


def test_rows_windows_and_copies_give_the_same_ids(pair):
    _, ours = pair
    texts = plain_texts(20)
    rows = ours(texts)["input_ids"]
    encoded = ours.encode_rows(texts, max_length=None)
    assert encoded.input_ids.tolist() == list(chain(*rows))
    assert pickle.loads(pickle.dumps(ours))(texts)["input_ids"] == rows
    words = [text.split() for text in texts]
    assert ours(words, is_split_into_words=True)["input_ids"]
    assert ours(texts[0], return_offsets_mapping=True)["offset_mapping"]


def test_a_tokenizer_grows(family, tmp_path):
    ours = AutoTokenizer.from_folder(write(tmp_path / "a", family))
    size = max(ours.get_vocab().values()) + 1
    assert ours.add_tokens(["<new>"]) == 1
    assert ours.add_special_tokens({"additional_special_tokens": ["<ent>"]}) == 1
    ids = ours("hello <new> <ent>")["input_ids"]
    assert {size, size + 1} <= set(ids)
    text = ours.decode(ids, skip_special_tokens=True)
    assert "<new>" in text
    assert "<ent>" not in text
    assert ours.tokenize("hello<new>")[-1] == "<new>"
    ours.save_pretrained(tmp_path / "b")
    again = AutoTokenizer.from_folder(tmp_path / "b")
    assert again("hello <new> <ent>")["input_ids"] == ids
    assert again.decode(ids, skip_special_tokens=True) == text


def test_the_families_have_their_classes(family):
    named = getattr(abrazo, family)
    assert issubclass(named, abrazo.Tokenizer)
    assert named.__name__ == named.family == family


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("T5Tokenizer", "mt5"),
        ("PegasusTokenizer", "pegasus"),
        ("XLMRobertaTokenizer", "xlm-roberta"),
        ("MBartTokenizer", "mbart"),
        ("LlamaTokenizer", "mistral"),
    ],
)
def test_a_model_says_whose_vocabulary_it_is(tmp_path, family, kind):
    (tmp_path / FILES[family][0]).write_bytes(model_bytes(family))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    expected = AutoTokenizer.from_folder(write_family(tmp_path / "named", family))
    ours = AutoTokenizer.from_folder(tmp_path)
    assert ours.get_vocab() == expected.get_vocab()
    assert ours("hello world")["input_ids"] == expected("hello world")["input_ids"]


def test_a_class_says_whose_a_lone_vocabulary_is(tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(train("unigram"))
    assert AutoTokenizer.from_folder(tmp_path).src_lang is None
    ours = abrazo.MBart50Tokenizer.from_folder(tmp_path)
    assert ours.src_lang == "en_XX"
    assert type(ours) is abrazo.MBart50Tokenizer


def test_a_tokenizer_json_counts_before_a_sentencepiece_file(tmp_path):
    ours = AutoTokenizer.from_folder(write_family(tmp_path, "T5Tokenizer"))
    ours.add_tokens(["<new>"])
    ours.save_pretrained(tmp_path)
    assert AutoTokenizer.from_folder(tmp_path).get_vocab() == ours.get_vocab()


def test_t5_has_as_many_sentinels_as_its_config_says(tmp_path):
    folder = write_family(tmp_path, "T5Tokenizer", extra_ids=3)
    ours = AutoTokenizer.from_folder(folder)
    assert ours.convert_ids_to_tokens(len(ours) - 1) == "<extra_id_0>"
    assert ours.convert_ids_to_tokens(len(ours) - 3) == "<extra_id_2>"
    assert ours.tokenize("a <extra_id_1>")[-1] == "<extra_id_1>"
    with pytest.raises(TokenizerError, match="extra_ids"):
        AutoTokenizer.from_folder(write_family(tmp_path / "b", "T5Tokenizer", extra_ids=10**9))


def test_llama_frames_as_its_config_says(tmp_path):
    for first, last in ((True, False), (False, True), (True, True), (False, False)):
        folder = write_family(
            tmp_path / f"{first}{last}", "LlamaTokenizer", add_bos_token=first, add_eos_token=last
        )
        row = AutoTokenizer.from_folder(folder)("hello", "world").tokens()
        assert row[0].startswith("<s>") == first
        assert (row[-1] == "</s>") == last
        assert row.count("<s>") == 2 * first


def test_llama_puts_a_space_in_front_as_its_config_says(tmp_path):
    def tokens(**config):
        folder = write_family(tmp_path / str(len(config)) / str(config), "LlamaTokenizer", **config)
        ours = AutoTokenizer.from_folder(folder)
        ours.add_special_tokens({"additional_special_tokens": ["<sep>"]})
        return ours.tokenize("hello<sep>hello")

    old, new, bare = tokens(), tokens(legacy=False), tokens(add_prefix_space=False)
    assert "".join(old) == "▁hello<sep>▁hello"
    assert "".join(new) == "▁hello<sep>hello"
    assert "".join(bare) == "hello<sep>hello"


def test_albert_lowers_and_strips_accents_unless_its_config_says_no(tmp_path):
    plain = AutoTokenizer.from_folder(write_family(tmp_path / "a", "AlbertTokenizer"))
    assert plain.tokenize("HÉLLO ``x''") == plain.tokenize('hello "x"')
    kept = write_family(tmp_path / "b", "AlbertTokenizer", do_lower_case=False, keep_accents=True)
    assert AutoTokenizer.from_folder(kept).tokenize("Hé") != plain.tokenize("Hé")


def test_marian_encodes_the_two_sides_by_their_own_files(tmp_path):
    folder = write_marian(tmp_path)
    theirs = transformers.MarianTokenizer.from_pretrained(folder)
    ours = TranslationTokenizer.from_folder(folder)
    texts = plain_texts()
    labels = theirs(text_target=texts)["input_ids"]
    assert ours(text_target=texts)["input_ids"] == labels
    assert ours.encode_targets(texts)["input_ids"] == labels
    assert ours.target.encode_rows(texts, max_length=None).input_ids.tolist() == list(
        chain(*labels)
    )
    assert ours(texts)["input_ids"] != labels
    both = ours(texts[:3], text_target=texts[3:6], padding=True, return_tensors="pt")
    expected = theirs(texts[:3], text_target=texts[3:6], padding=True, return_tensors="pt")
    assert {k: v.tolist() for k, v in both.items()} == {k: v.tolist() for k, v in expected.items()}
    assert ours.target.batch_decode(labels, skip_special_tokens=True) == theirs.batch_decode(
        labels, skip_special_tokens=True
    )


def test_marian_knows_the_language_that_a_text_asks_for(tmp_path):
    folder = write_marian(tmp_path)
    theirs = transformers.MarianTokenizer.from_pretrained(folder)
    ours = AutoTokenizer.from_folder(folder)
    for text in (">>de<< hello world", ">>zh<<hello"):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_marian_with_two_vocabularies_speaks_the_second(tmp_path):
    folder = write_marian(tmp_path, separate_vocabs=True)
    ids = json.loads((folder / "vocab.json").read_text())
    ordered = sorted(ids, key=lambda token: -ids[token])
    swapped = {token: number for number, token in enumerate(ordered)}
    (folder / "target_vocab.json").write_text(json.dumps(swapped))
    config = {"separate_vocabs": True, "target_vocab_file": str(folder / "target_vocab.json")}
    theirs = transformers.MarianTokenizer.from_pretrained(folder, **config)
    ours = AutoTokenizer.from_folder(folder)
    texts = plain_texts(30)
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    labels = theirs(text_target=texts)["input_ids"]
    assert ours.encode_targets(texts)["input_ids"] == labels
    for side in (ours, ours.target):
        assert side.decode(labels[0][:-1]) == theirs.decode(labels[0][:-1])
    ours.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "target_vocab.json").exists()


def test_a_piece_that_the_ids_lack_is_unknown(tmp_path):
    ours = AutoTokenizer.from_folder(write_marian(tmp_path, lacking=60))
    source = processor(train("unigram"))
    ids = json.loads((tmp_path / "vocab.json").read_text())
    text = next(
        text for text in plain_texts() if not set(source.encode_as_pieces(text)) <= set(ids)
    )
    expected = [ids.get(piece, ids["<unk>"]) for piece in source.encode_as_pieces(text)]
    assert ours(text, add_special_tokens=False)["input_ids"] == expected


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_a_missing_file_of_marian_is_named(tmp_path, name):
    (write_marian(tmp_path) / name).unlink()
    with pytest.raises(TokenizerError, match=rf"lacks `{name}`.*load the model by its name again"):
        AutoTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("family", ["T5Tokenizer", "MarianTokenizer", "M2M100Tokenizer"])
@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_cut_file_is_named(tmp_path, family, size):
    folder = write(tmp_path, family)
    file = next(file for file in sorted(folder.iterdir()) if file.suffix in (".model", ".spm"))
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(TokenizerError, match=rf"{file.name}` is no whole SentencePiece file"):
        AutoTokenizer.from_folder(folder)


BAD_IDS = {
    "no object": "[]",
    "an id twice": '{"</s>": 0, "<unk>": 0, "<pad>": 1}',
    "an id that is text": '{"</s>": 0, "<unk>": "1", "<pad>": 2}',
    "a huge id": '{"</s>": 0, "<unk>": 1, "<pad>": 4294967295}',
    "no end": '{"<unk>": 1, "<pad>": 2}',
    "cut": '{"</s>": 0,',
}


@pytest.mark.parametrize("name", BAD_IDS)
def test_bad_ids_are_refused(tmp_path, name):
    (write_marian(tmp_path) / "vocab.json").write_text(BAD_IDS[name])
    with pytest.raises(TokenizerError, match=r"vocab\.json"):
        AutoTokenizer.from_folder(tmp_path)


def test_a_file_of_another_family_says_what_it_lacks(tmp_path):
    (tmp_path / "spiece.model").write_bytes(train("unigram"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "AlbertTokenizer"}')
    with pytest.raises(TokenizerError, match=r"spiece\.model.*lacks \[CLS\], \[SEP\]"):
        AutoTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    with pytest.raises(TokenizerError, match="must be one of `T5Tokenizer`"):
        AutoTokenizer.from_folder(tmp_path)


def test_loading_warns_of_nothing(family, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="abrazo"):
        AutoTokenizer.from_folder(write(tmp_path, family))
    assert caplog.text == ""
