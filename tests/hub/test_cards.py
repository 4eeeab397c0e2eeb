import ast
import re
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard as StockCard
from huggingface_hub import metadata_load
from hypothesis import given
from hypothesis import strategies as st

from abrazo.errors import ConfigError, DataError
from abrazo.hub.cards import ModelCard, read_card, render_card, write_card

CARD = ModelCard(
    name="film-sentiment",
    task="text-classification",
    description="Tells good film reviews from bad ones.",
    base_model="minilm",
    language=("en", "zh"),
    license="apache-2.0",
    datasets=("stanfordnlp/imdb", "/home/me/data/train.csv"),
    tags=("films",),
    example="a fine film",
    labels=("negative", "positive"),
    training_data="3,200 reviews, 39 words on average.",
    settings={"learning_rate": 5e-5, "output_dir": "/home/me/results", "num_train_epochs": 3},
    metrics={"eval_accuracy": 0.9125, "f1": np.float32(0.5), "eval_loss": float("nan")},
    evaluation_data="/home/me/data/dev.csv",
)


def test_the_stock_client_reads_the_front_matter(tmp_path):
    assert write_card(tmp_path, CARD)
    data = StockCard.load(tmp_path / "README.md").data
    assert data.license == "apache-2.0"
    assert data.language == ["en", "zh"]
    assert data.library_name == "abrazo"
    assert data.pipeline_tag == "text-classification"
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.datasets == ["stanfordnlp/imdb"]
    assert data.tags == ["abrazo", "films"]
    results = {result.metric_type: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {
        "accuracy": 0.9125,
        "f1": 0.5,
    }
    assert results["f1"].dataset_name == "dev.csv"
    assert data.model_name == "film-sentiment"


def test_what_is_not_known_is_left_out(tmp_path):
    write_card(tmp_path, ModelCard(name="m", task="embedding"))
    assert metadata_load(tmp_path / "README.md") == {
        "library_name": "abrazo",
        "tags": ["abrazo"],
        "pipeline_tag": "feature-extraction",
    }
    text = (tmp_path / "README.md").read_text()
    assert "## Evaluation" not in text
    assert "Not evaluated yet" in text


def test_the_text_tells_use_labels_training_evaluation_and_limits():
    text = render_card(CARD)
    assert 'model = az.pipeline("text-classification", "film-sentiment")' in text
    assert "| 1 | positive |" in text
    assert "| learning_rate | 5e-05 |" in text
    assert "| accuracy | 0.9125 |" in text
    assert "| loss | not a number |" in text
    assert "## Limits" in text


def test_folders_of_this_machine_are_not_told():
    text = render_card(CARD.replace(base_model="/home/me/my-bert"))
    assert "/home/me" not in text
    assert "the local model `my-bert`" in text


def test_a_local_folder_is_no_hub_repo(tmp_path, monkeypatch):
    Path("my-bert").mkdir()
    assert "base_model" not in render_card(CARD.replace(base_model="my-bert")).split("---")[1]


def test_a_misspelt_field_is_refused():
    with pytest.raises(ConfigError, match="Did you mean `license`"):
        ModelCard(name="m", task="t", licence="mit")


def test_a_renewed_card_has_the_new_figures_and_no_old_ones(tmp_path):
    write_card(tmp_path, CARD)
    assert write_card(tmp_path, CARD.replace(metrics={"accuracy": 0.75}))
    text = (tmp_path / "README.md").read_text()
    assert "0.75" in text
    assert "0.9125" not in text
    assert text == render_card(CARD.replace(metrics={"accuracy": 0.75}))


def test_a_persons_words_and_keys_around_the_generated_part_are_kept(tmp_path):
    write_card(tmp_path, CARD)
    file = tmp_path / "README.md"
    text = file.read_text().replace("license: apache-2.0", "license: mit\nextra_key: mine")
    file.write_text(text.replace("---\n<!--", "---\nBefore.\n<!--") + "\n## My notes\n\nAfter.\n")
    assert write_card(tmp_path, CARD.replace(metrics={"accuracy": 0.75}))
    card = read_card(tmp_path)
    assert card.text.startswith("Before.\n<!--")
    assert card.text.endswith("\n## My notes\n\nAfter.\n")
    assert "0.75" in card.text
    assert card.metadata["license"] == "mit"
    assert card.metadata["extra_key"] == "mine"
    assert card.metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.75


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("Tells good", "Really tells good"),
        lambda text: "# My own card\n",
        lambda text: "",
        lambda text: text.split("## Limits")[0],
        lambda text: "---\n[broken\n---\n" + text,
    ],
)
def test_a_card_that_a_person_changed_is_left_as_it_is(edit, tmp_path, caplog):
    write_card(tmp_path, CARD)
    file = tmp_path / "README.md"
    edited = edit(file.read_text())
    file.write_text(edited)
    assert not write_card(tmp_path, CARD.replace(metrics={}))
    assert file.read_text() == edited
    assert "left as it is" in caplog.text


def test_a_bar_in_a_label_does_not_split_its_cell():
    assert "| 0 | a\\|b |" in render_card(CARD.replace(labels=("a|b", "c")))


NASTY = st.text(
    alphabet=st.sampled_from("a `|<!->\n\"'\\#-é中:&{}[]"), min_size=1, max_size=30
) | st.sampled_from(
    ["<!-- abrazo: end; what you write outside of these marks is kept -->\n", "---"]
)


@given(text=NASTY, label=NASTY)
def test_no_text_breaks_the_card(text, label, tmp_path_factory):
    card = CARD.replace(
        name=text, description=text, labels=(label, "b"), example=text, path=text, license=text
    )
    folder = tmp_path_factory.mktemp("card")
    write_card(folder, card)
    assert metadata_load(folder / "README.md")["license"] == text
    written = (folder / "README.md").read_text()
    assert write_card(folder, card)  # the part is found again, so it is intact
    assert (folder / "README.md").read_text() == written
    snippet = re.search(r"```python\n(.*?)\n```", written, re.DOTALL)[1]
    call = ast.parse(snippet).body[2].value.args[0]
    assert ast.literal_eval(call.args[0]) == text
    rows = re.search(r"## Labels\n\n(.*?)\n\n", written, re.DOTALL)[1].split("\n")
    assert len(rows) == 4


# Cards of the world


def test_a_card_without_front_matter_is_text(tmp_path):
    (tmp_path / "README.md").write_text("# Hello\n---\nno: yaml\n---\n")
    card = read_card(tmp_path)
    assert card.metadata == {}
    assert card.text.startswith("# Hello")


@pytest.mark.parametrize("text", ["---\n---\nHi", "---\n---\n"])
def test_empty_front_matter_is_no_metadata(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    assert read_card(tmp_path / "README.md").metadata == {}


@pytest.mark.parametrize(
    "front",
    [
        "- a list\n",
        "[unclosed\n",
        "a: !!python/object/apply:os.system ['true']\n",
        "[" * 60_000 + "\n",
        "{a: " * 15_000 + "\n",
        "a: b\n" * 20_000,
        "- " * 30_000 + "\n",
        "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(2000)) + "- broken\n",
        "\0: a\n",
    ],
)
def test_broken_front_matter_is_a_typed_error_in_time(front, tmp_path):
    (tmp_path / "README.md").write_text(f"---\n{front}---\ntext\n")
    begin = time.monotonic()
    with pytest.raises(DataError, match="front matter"):
        read_card(tmp_path)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 4_000_001])
def test_what_is_no_text_is_a_typed_error(content, tmp_path):
    (tmp_path / "README.md").write_bytes(content)
    with pytest.raises(DataError):
        read_card(tmp_path)


def test_a_missing_card_is_a_typed_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_card(tmp_path)
