"""A family of the user's own, from one file, through every door and with any head."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import abrazo as az
from abrazo.cli.main import main
from abrazo.errors import ConfigError
from abrazo.own_code import load_class
from abrazo.training.trainer import Trainer
from helpers.files import write_lines
from helpers.own_parts import star_rows, write_page_files
from helpers.tiny import VOCAB, tiny_folder, tiny_rows, tiny_tokenizer
from helpers.training import CrashAt, CrashError, assert_same_weights, small_arguments

MODEL = "mixer.py:MixerModel"
QUICK: dict[str, Any] = {
    "num_train_epochs": 2,
    "learning_rate": 1e-3,
    "disable_tqdm": True,
    "precision": "fp32",
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    write_lines(tmp_path / "rows.jsonl", tiny_rows(32))
    write_lines(tmp_path / "dev.jsonl", tiny_rows(8))
    torch.manual_seed(0)
    kind = load_class(MODEL, az.PretrainedModel)
    model = kind(kind.family.config(vocab_size=len(VOCAB), hidden_size=16))
    model.tokenizer = tiny_tokenizer()
    model.save_pretrained(tmp_path / "new")


@pytest.fixture
def mixer() -> type[az.PretrainedModel]:
    return load_class(MODEL, az.PretrainedModel)


def train(task: Any = "text-classification", **options: Any) -> az.Trainer:
    given = {"model": "new", "model_class": MODEL, "eval_data": tiny_rows(8), **QUICK, **options}
    return az.fit(task, tiny_rows(32), **given).trainer


def command(*words: object) -> int:
    return main([*map(str, words), "--device", "cpu"])


def test_all_doors_lead_to_the_same_model_and_the_same_answers(
    mixer: type[az.PretrainedModel],
) -> None:
    trainer = train()
    words = ("--epochs", 2, "--learning-rate", 1e-3, "--disable-tqdm", "--precision", "fp32")
    files = ("--train", "rows.jsonl", "--eval", "dev.jsonl", "--output", "other")
    options = ("--model-class", MODEL)
    assert command("train", "intent", "--model", "new", *options, *files, *words) == 0
    loaded = az.load_model("other", model_class=mixer)
    assert type(loaded) is type(trainer.model)
    assert_same_weights(trainer.model, loaded)
    texts = [row["text"] for row in tiny_rows(8)]
    answers = az.pipeline("intent", "results", model_class=MODEL, precision="fp32")(texts)
    found = Trainer.from_pretrained("other", model_class=mixer).predict(texts).predictions
    assert [trainer.model.config.labels[i] for i in found.argmax(-1)] == [
        answer["label"] for answer in answers
    ]
    words = ("predict", "other", "dev.jsonl", *options, "-o", "out.jsonl")
    assert command(*words) == 0
    lines = Path("out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["predicted_label"] for line in lines] == [
        answer["label"] for answer in answers
    ]
    assert command("evaluate", "other", "dev.jsonl", *options) == 0
    assert main(["explain", "other", *options]) == 0


def test_it_learns() -> None:
    rarely = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 100}
    trainer = train(num_train_epochs=25, learning_rate=1e-2, **rarely)
    assert trainer.evaluate(tiny_rows(32))["eval_accuracy"] == 1


def test_other_heads_of_it_learn_other_tasks() -> None:
    rows = [{"tokens": ["anna", "lives", "in", "paris"], "tags": ["B-NAME", "O", "O", "B-TOWN"]}]
    run = az.fit("ner", rows * 8, model="new", model_class=MODEL, **QUICK)
    assert type(run.trainer.model).__name__ == "MixerForTokenClassification"
    assert az.pipeline("ner", "results", model_class=MODEL)("anna lives in paris") is not None


def test_its_tokens_become_vectors(mixer: type[az.PretrainedModel]) -> None:
    pairs = [{"text1": "a good film", "text2": "a fine film", "score": 0.9}] * 8
    pairs += [{"text1": "a good film", "text2": "berlin", "score": 0.1}] * 8
    trainer = az.fit("sentence-similarity", pairs, model="new", model_class=mixer, **QUICK).trainer
    texts = ["a good film", "这部电影很好看"]
    vectors = trainer.model.encode(texts, precision="fp32")
    loaded = az.load_model("results", "similarity", model_class=mixer)
    np.testing.assert_array_equal(loaded.encode(texts, precision="fp32"), vectors)
    embed = az.pipeline("feature-extraction", "results", model_class=mixer, precision="fp32")
    np.testing.assert_allclose(embed("a good film"), vectors[0], atol=1e-5)


def test_a_head_of_ones_own_goes_on_a_family_of_ones_own() -> None:
    options = {"model": "new", "model_class": MODEL, **QUICK}
    trainer = az.fit("stars.py:Stars", star_rows(), **options).trainer
    assert type(trainer.model).__name__ == "MixerForStars"
    rate = az.pipeline("stars.py:Stars", "results", model_class=MODEL)
    assert 1 <= rate("a great film")["stars"] <= 5
    both = ("--task", "stars.py:Stars", "--model-class", MODEL)
    write_lines(Path("stars.jsonl"), star_rows(5))
    assert command("evaluate", "results", "stars.jsonl", *both) == 0


def test_a_broken_run_goes_on_bit_for_bit(mixer: type[az.PretrainedModel], tmp_path: Path) -> None:
    def trainer(folder: str, *callbacks: az.Callback) -> Trainer:
        torch.manual_seed(0)
        args = small_arguments(tmp_path / folder, save_steps=2, save_strategy="steps")
        options = {"model_class": mixer, "labels": ["bad", "good"]}
        model = az.load_model("new", "sequence_classification", **options)
        return Trainer(model, args, tiny_rows(40), callbacks=callbacks)

    whole = trainer("whole")
    whole.train()
    with pytest.raises(CrashError):
        trainer("broken", CrashAt(5)).train()
    resumed = trainer("broken")
    resumed.train()
    assert_same_weights(whole.model, resumed.model)


def test_a_model_of_a_family_of_ones_own_says_how_to_give_it(
    mixer: type[az.PretrainedModel], tmp_path: Path, capsys: Any
) -> None:
    said = r"are not known, .* give its class as `model_class`.*my_file.py:MyModel"
    for load in (
        lambda: az.load_model("new"),
        lambda: az.AutoModel.from_pretrained("new"),
        lambda: az.AutoConfig.from_pretrained("new"),
        lambda: az.pipeline("text-classification", "new"),
        lambda: az.fit("intent", tiny_rows(8), model="new"),
    ):
        with pytest.raises(ConfigError, match=said):
            load()
    assert command("predict", "new", "rows.jsonl") == 2
    assert '`--model-class "my_file.py:MyModel"`' in capsys.readouterr().err
    with pytest.raises(ConfigError, match="model of the type 'bert', not 'mean-mixer'"):
        az.load_model(tiny_folder(tmp_path / "bert"), model_class=mixer)
    with pytest.raises(ConfigError, match="mean-mixer models have no head 'masked_lm', only"):
        az.pipeline("fill-mask", "new", model_class=mixer)


@pytest.mark.parametrize("given", ["mixer.py:MixerBlock", "mixer.py:Mixr", "mixer:MixerModel", 3])
def test_what_is_no_class_of_a_model_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="`PretrainedModel`"):
        az.load_model("new", model_class=given)
