import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.checkpoints.jsonfile import encode_json, parse_json_object, read_json_object, write_json
from abrazo.errors import CheckpointError, TokenizerError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(value=st.dictionaries(st.text(st.characters(codec="utf-8")), values))
@settings(deadline=None)
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert parse_json_object(encode_json(value)) == value
    assert parse_json_object(json.dumps(value).encode()) == value


@given(data=st.binary() | st.text(st.sampled_from('{}[]",:\\ 1a')).map(str.encode))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_an_object_or_a_value_error(data: bytes) -> None:
    try:
        value = parse_json_object(data)
    except ValueError:
        return
    assert value == json.loads(data)


def test_written_text_is_stable_and_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": ["你好"]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": 1,\n  "a": [\n    "你好"\n  ]\n}\n'


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Expecting value"),
        (b"[1]", "list instead of an object"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 1, "a": 2}', "'a' comes twice"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "'c' comes twice"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested 100,001 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested 100,000 deep"),
        (b'{"a": [' + b"0," * 500_000 + b"0]}", "values"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "digits"),
        (b'{"a": "' + b'\\"' * 1_000_000, "Unterminated"),
        (b" " * 16_000_001, "larger than 16,000,000 bytes"),
        (b'{"a": 1} x', "Extra data"),
    ],
)
def test_what_is_not_strict_json_is_named(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_json_object(tmp_path / "config.json")
    assert "config.json" in str(caught.value)


def test_brackets_in_strings_are_not_nesting() -> None:
    text = {"a": "[" * 1000 + '\\"{' * 1000}
    assert parse_json_object(json.dumps(text).encode()) == text


def test_the_caller_chooses_budget_and_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": {"b": [1, 2, 3]}}')
    for budget in ({"max_bytes": 10}, {"max_depth": 2}, {"max_values": 4}):
        with pytest.raises(TokenizerError):
            read_json_object(tmp_path / "a.json", error=TokenizerError, **budget)
    assert read_json_object(tmp_path / "a.json", max_bytes=23, max_depth=3) == {
        "a": {"b": [1, 2, 3]}
    }
