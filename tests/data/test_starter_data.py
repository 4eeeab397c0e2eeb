import json

import pytest

from abrazo.data.loading import load_dataset
from abrazo.data.starter import load_starter
from abrazo.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    """Made-up files of the starter data's form."""
    for language, text in (("en", "My card is lost"), ("zh", "我的卡丢了")):
        rows = [
            {
                "id": f"{language}-{number}",
                "split": "test" if number % 3 == 0 else "train",
                "text": text,
                "entities": [{"label": "item", "start": 0, "end": 2}] * (number % 2),
                "answers": [],
                "score": number / 4,
            }
            for number in range(4)
        ]
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / f"messages_{language}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_one_language(folder):
    splits = load_starter("zh", folder=folder)
    assert splits.num_rows == {"test": 2, "train": 2}
    assert splits["train"].unique("language") == ["zh"]
    assert splits["train"]["id"] == ["zh-1", "zh-2"]
    assert "split" not in splits["train"].column_names
    assert splits["train"].origin(1) == "abrazo/starter (messages_zh.jsonl), row 3"


def test_both_languages(folder):
    splits = load_starter(folder=folder)
    assert splits.num_rows == {"test": 4, "train": 4}
    assert splits["test"]["language"] == ["en", "en", "zh", "zh"]


def test_unknown_languages_and_splits_are_refused(folder):
    with pytest.raises(ConfigError, match="`language` must be one of `en`, `zh`, but is 'de'"):
        load_dataset("abrazo/starter", language="de")
    with pytest.raises(DataError, match="no split `dev`"):
        load_starter("en", folder=folder)["dev"]
