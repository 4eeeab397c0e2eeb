"""Damaged and hostile tokenizer files give a typed error, soon."""

import base64
import json
import os
import struct
import time

import pytest
from tokenizer_samples import BACKENDS, CONFIGS, VOCAB, write_folder

from abrazo.errors import TokenizerError
from abrazo.tokenization.auto import AutoTokenizer
from abrazo.tokenization.bert import BertTokenizer
from abrazo.tokenization.tokenizer import Tokenizer
from helpers.tiny import tiny_tokenizer

LIMIT_S = 2.0


def _content(kind: str = "wordpiece") -> dict:
    return json.loads(BACKENDS[kind]().to_str())


def _refused(folder) -> str:
    start = time.monotonic()
    with pytest.raises(TokenizerError) as caught:
        AutoTokenizer.from_folder(folder)
    assert time.monotonic() - start < LIMIT_S
    return str(caught.value)


def _replace(pattern: dict, content: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _charsmap(data: bytes) -> dict:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def _table(units: list[int], replacements: bytes) -> bytes:
    units = units + [0] * (256 - len(units))
    return struct.pack("<I", 1024) + struct.pack("<256I", *units) + replacements


def _set(*path, kind="wordpiece", value):
    def change() -> dict:
        content = _content(kind)
        place = content
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value
        return content

    return change


def _nested(depth: int) -> dict:
    stage = {"type": "Lowercase"}
    for _ in range(depth):
        stage = {"type": "Sequence", "normalizers": [stage]}
    return stage


def _added(**change):
    token = {"id": 44, "content": "tok", "special": False, "normalized": True}
    token |= {"single_word": False, "lstrip": False, "rstrip": False}
    return [{**token, **change}]


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
SEQUENCE = {"type": "Sequence"}
MALFORMED = {
    "empty object": lambda: {},
    "a list": lambda: [1, 2],
    "no model": _set("model", value=None),
    "unknown model": _set("model", "type", value="Oracle"),
    "model is text": _set("model", value="WordPiece"),
    "vocabulary is text": _set("model", "vocab", value="words"),
    "vocabulary is empty": _set("model", "vocab", value={}),
    "id is text": _set("model", "vocab", "the", value="7"),
    "id is true": _set("model", "vocab", "the", value=True),
    "id 2^32-1": _set("model", "vocab", "the", value=2**32 - 1),
    "id negative": _set("model", "vocab", "the", value=-1),
    "duplicate ids": _set("model", "vocab", "the", value=6),
    "no unknown token": _set("model", "unk_token", value="[MISSING]"),
    "unknown token is null": _set("model", "unk_token", value=None),
    "huge words": _set("model", "max_input_chars_per_word", value=10**9),
    "empty added token": _set("added_tokens", value=lambda old: old + _added(content="", id=45)),
    "added token vanishes": _set(
        "added_tokens", value=lambda old: old + _added(content="\x01", id=45)
    ),
    "added id 2^32-1": _set("added_tokens", value=lambda old: old + _added(id=2**32 - 1)),
    "added id with a gap": _set("added_tokens", value=lambda old: old + _added(id=99)),
    "added id double": _set("added_tokens", value=lambda old: old + _added(id=7)),
    "added tokens are text": _set("added_tokens", value="[PAD]"),
    "padding to 10^9": _set(
        "padding",
        value={
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    ),
    "nested quantifiers": _set("pre_tokenizer", value={**SPLIT, "pattern": {"Regex": "(a+)+$"}}),
    "nested quantifiers in a normalizer": _set(
        "normalizer", value=_replace({"Regex": "((x|xx)+y)*z"}, "")
    ),
    "nested quantifiers in a decoder": _set("decoder", value=_replace({"Regex": "(a*)*b"}, "")),
    "pattern cannot be compiled": _set("pre_tokenizer", value={**SPLIT, "pattern": {"Regex": "("}}),
    "counted repeats": _set(
        "pre_tokenizer", value={**SPLIT, "pattern": {"Regex": "((a{900}){900}){900}"}}
    ),
    "replacements that explode": _set(
        "normalizer",
        value={**SEQUENCE, "normalizers": [_replace({"String": "a"}, "a" * 20)] * 20},
    ),
    "replaces the empty text": _set("normalizer", value=_replace({"String": ""}, "x")),
    "charsmap is not base64": _set(
        "normalizer", value={"type": "Precompiled", "precompiled_charsmap": "%%%"}
    ),
    "charsmap is empty": _set("normalizer", value=_charsmap(b"")),
    "charsmap size lies": _set("normalizer", value=_charsmap(struct.pack("<I", 2**31) + b"xx")),
    "charsmap points outside": _set("normalizer", value=_charsmap(_table([2**20 << 10], b"b\0"))),
    "charsmap replacement outside": _set(
        "normalizer", value=_charsmap(_table([(1 << 10) | (1 << 8), 500 | 1 << 31], b"b\0"))
    ),
    "charsmap replacement that explodes": _set(
        "normalizer", value=_charsmap(_table([1 << 10], b"b" * 9999 + b"\0"))
    ),
    "nested deep": _set("normalizer", value=_nested(60)),
    "nested deeper than the parser": _set("normalizer", value=_nested(120)),
    "unknown stage": _set("pre_tokenizer", value={"type": "Import", "module": "os"}),
    "template without the text": _set("post_processor", "single", value=[]),
    "template with unknown token": _set(
        "post_processor",
        "single",
        value=lambda old: [*old, {"SpecialToken": {"id": "?", "type_id": 0}}],
    ),
    "template with id outside": _set(
        "post_processor", "special_tokens", "[SEP]", "ids", value=[4000]
    ),
    "template with the text twice": _set(
        "post_processor",
        "single",
        value=lambda old: [*old, {"Sequence": {"id": "A", "type_id": 0}}],
    ),
    "bad merge": _set("model", "merges", kind="byte_level", value=lambda old: [*old, ["zz", "q"]]),
    "merge of one": _set("model", "merges", kind="byte_level", value=lambda old: [*old, "zz"]),
    "unknown id outside": _set("model", "unk_id", kind="unigram", value=4000),
    "no unknown id": _set("model", "unk_id", kind="unigram", value=None),
    "piece without score": _set("model", "vocab", kind="unigram", value=lambda old: [*old, ["x"]]),
    "empty pieces": _set("model", "vocab", kind="unigram", value=[]),
    "chunks of no length": _set("pre_tokenizer", value={"type": "FixedLength", "length": 0}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_tokenizer_json_is_refused(tmp_path, name):
    (tmp_path / "tokenizer.json").write_text(json.dumps(MALFORMED[name]()), encoding="utf-8")
    assert _refused(tmp_path)


TEXT = BACKENDS["wordpiece"]().to_str().encode()
BYTES = {
    "no bytes": b"",
    "truncated": TEXT[: len(TEXT) // 2],
    "not UTF-8": TEXT.replace(b"fox", b"\xff\xfe"),
    "lone surrogate": TEXT.replace(b'"fox"', b'"\\ud800"'),
    "not a number": TEXT.replace(
        b'"continuing_subword_prefix"', b'"x":NaN,"continuing_subword_prefix"'
    ),
    "a key twice": TEXT.replace(b'"fox":8', b'"fox":8,"fox":9'),
    "100,000 deep": b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number": b"17",
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_tokenizer_are_refused(tmp_path, name):
    (tmp_path / "tokenizer.json").write_bytes(BYTES[name])
    assert _refused(tmp_path)


def test_a_fifo_a_folder_and_a_huge_file_are_refused(tmp_path):
    for name, make in {
        "fifo": os.mkfifo,
        "folder": os.mkdir,
        "huge": lambda file: os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), 2**31),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "tokenizer.json")
        assert _refused(folder)


def test_all_mistakes_are_reported_at_once(tmp_path):
    content = _content()
    content["model"]["vocab"]["the"] = -1
    content["model"]["unk_token"] = "??"
    content["pre_tokenizer"] = {**SPLIT, "pattern": {"Regex": "(a+)+$"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    message = _refused(tmp_path)
    assert "'the'" in message
    assert "unk_token" in message
    assert "(a+)+$" in message


def test_a_valid_charsmap_is_accepted(tmp_path):
    units = [0] * 256
    units[0] = 1 << 10
    units[96] = 97 | (1 << 8) | (168 << 10)  # 0 ^ 1 ^ ord("a"); its leaf is at 96 ^ 168
    units[200] = 0 | 1 << 31
    content = _content()
    content["normalizer"] = _charsmap(_table(units, b"b\0"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert AutoTokenizer.from_folder(tmp_path).tokenize("a") == ["b"]


CONFIGURATIONS = {
    "a list": "[]",
    "truncated": '{"a": ',
    "role is a number": '{"cls_token": 7}',
    "role is an empty object": '{"cls_token": {}}',
    "length is text": '{"model_max_length": "many"}',
    "length is negative": '{"model_max_length": -1}',
    "side": '{"padding_side": "up"}',
    "input names": '{"model_input_names": "input_ids"}',
    "extra tokens": '{"additional_special_tokens": [1]}',
    "declared id": '{"added_tokens_decoder": {"99": {"content": "x"}}}',
    "declared id of another": '{"added_tokens_decoder": {"7": {"content": "the"}}}',
    "declared nonsense": '{"added_tokens_decoder": {"a": 3}}',
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_malformed_tokenizer_config_is_refused(tmp_path, name):
    write_folder(tmp_path, "wordpiece")
    (tmp_path / "tokenizer_config.json").write_text(CONFIGURATIONS[name])
    assert _refused(tmp_path)


def test_names_of_code_in_a_config_are_inert_and_kept(tmp_path):
    write_folder(tmp_path, "wordpiece")
    config = {
        **CONFIGS["wordpiece"],
        "tokenizer_class": "os.system",
        "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]},
        "save_pretrained": "x",
        "my_field": [1, {"a": None}],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = AutoTokenizer.from_folder(tmp_path)
    assert type(tokenizer) is AutoTokenizer
    assert callable(tokenizer.save_pretrained)
    tokenizer.save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    for name in ("tokenizer_class", "auto_map", "my_field"):
        assert written[name] == config[name]


def test_truncation_and_padding_of_the_file_do_not_leak(tmp_path):
    backend = BACKENDS["wordpiece"]()
    backend.enable_truncation(4)
    backend.enable_padding(length=9, pad_token="[PAD]", direction="left")
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = AutoTokenizer.from_folder(tmp_path)
    assert len(tokenizer("the fox jumps over the dog")["input_ids"]) == 9
    assert len(tokenizer("the")["input_ids"]) == 3
    assert len(Tokenizer(backend)("the")["input_ids"]) == 3
    assert backend.padding is not None


def test_roles_are_guessed_only_when_no_file_gives_them(tmp_path):
    BACKENDS["wordpiece"]().save(str(tmp_path / "tokenizer.json"))
    tokenizer = AutoTokenizer.from_folder(tmp_path)
    assert (tokenizer.cls_token, tokenizer.pad_token_id) == ("[CLS]", 0)
    assert tokenizer.bos_token is None
    assert "token_type_ids" in tokenizer.model_input_names


def test_older_files_give_roles_and_added_tokens(tmp_path):
    BACKENDS["wordpiece"]().save(str(tmp_path / "tokenizer.json"))
    roles = {"cls_token": {"content": "[CLS]", "lstrip": False}, "pad_token": "[PAD]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(roles))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<new>": len(VOCAB)}))
    tokenizer = AutoTokenizer.from_folder(tmp_path)
    assert tokenizer.special_tokens_map == {"cls_token": "[CLS]", "pad_token": "[PAD]"}
    assert tokenizer.convert_tokens_to_ids("<new>") == len(VOCAB)


VOCABULARIES = {
    "empty": ("", "is empty"),
    "twice": ("\n".join([*VOCAB, "fox"]), "'fox'"),
    "no unknown": ("\n".join(token for token in VOCAB if token != "[UNK]"), "[UNK]"),
    "no cls": ("\n".join(token for token in VOCAB if token != "[CLS]"), "[CLS]"),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_bad_vocab_txt_is_refused(tmp_path, name):
    text, named = VOCABULARIES[name]
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    assert named in _refused(tmp_path)
    with pytest.raises(TokenizerError):
        BertTokenizer(tmp_path / "vocab.txt")


def test_a_vocabulary_with_windows_line_ends_and_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(VOCAB).encode())
    assert BertTokenizer(tmp_path / "vocab.txt").get_vocab() == BertTokenizer(VOCAB).get_vocab()


def test_an_empty_folder_says_what_is_missing(tmp_path):
    assert "tokenizer.json" in _refused(tmp_path)


def test_a_declared_token_that_is_nowhere_is_told(tmp_path, caplog):
    write_folder(tmp_path, "wordpiece")
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<bos>"}')
    tokenizer = AutoTokenizer.from_folder(tmp_path)
    assert tokenizer.bos_token_id == len(VOCAB)
    assert "<bos>" in caplog.text


def test_loading_opens_nothing_outside_the_folder_and_runs_nothing(tmp_path):
    import subprocess
    import sys

    write_folder(tmp_path, "wordpiece")
    config = {**CONFIGS["wordpiece"], "auto_map": {"AutoTokenizer": "x.Y"}}
    config["tokenizer_file"] = "/etc/hostname"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    script = f"""
import sys
from abrazo.tokenization.auto import AutoTokenizer
events = []
def watch(event, args):
    if event in ("exec", "import", "subprocess.Popen", "os.system", "socket.connect"):
        events.append((event, str(args)[:80]))
    if event == "open" and not str(args[0]).startswith({str(tmp_path)!r}):
        events.append((event, str(args)[:80]))
AutoTokenizer.from_folder({str(tmp_path)!r})  # imports what it needs
sys.addaudithook(watch)
AutoTokenizer.from_folder({str(tmp_path)!r})("a")
found = list(events)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_tokenizer_needs_no_model_beside_it(tmp_path, monkeypatch):
    tiny_tokenizer().save_pretrained(tmp_path / "alone")
    assert not (tmp_path / "alone" / "config.json").exists()
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "alone", "alone", "./alone"):
        loaded = Tokenizer.from_pretrained(name)
        assert loaded("a good film")["input_ids"] == tiny_tokenizer()("a good film")["input_ids"]
