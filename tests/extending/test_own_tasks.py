"""A task with a head of the user's own, from one file, through every door."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import abrazo as az
from abrazo.cli.main import main
from abrazo.errors import CheckpointError, ConfigError, DataError
from abrazo.models.auto import load_model
from abrazo.own_code import load_class
from abrazo.tasks.auto import task_type
from abrazo.tasks.text_classification import TextClassification
from abrazo.training.trainer import Trainer
from helpers.families import TINY, models_of, tiny_family_config
from helpers.files import write_lines
from helpers.own_parts import MultipleChoice, choice_rows, star_rows, write_page_files
from helpers.tiny import VOCAB, scramble, tiny_folder, tiny_tokenizer
from helpers.training import CrashAt, CrashError, assert_same_weights, small_arguments

TASK = "stars.py:Stars"
QUICK: dict[str, Any] = {
    "num_train_epochs": 2,
    "learning_rate": 1e-3,
    "disable_tqdm": True,
    "precision": "fp32",
    "per_device_train_batch_size": 8,
}
AT_THE_END = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 100}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_page_files(tmp_path)
    tiny_folder(tmp_path / "base", "")
    write_lines(tmp_path / "rows.jsonl", star_rows())
    write_lines(tmp_path / "dev.jsonl", star_rows(10))


@pytest.fixture
def stars() -> type[az.Task]:
    return load_class(TASK, az.Task)  # type: ignore[type-abstract]


def train(task: Any = TASK, output: str = "run", **options: Any) -> az.Trainer:
    given = {"model": "base", "eval_data": star_rows(10), **QUICK, **options}
    return az.fit(task, star_rows(), output_dir=output, **given).trainer


def command(*words: object) -> int:
    return main([*map(str, words), "--device", "cpu", "--precision", "fp32"])


def answers_of_file(file: str) -> list[float]:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["predicted_stars"] for line in lines]


# Doors -----------------------------------------------------------------------------------------


def test_all_doors_lead_to_the_same_model_and_the_same_answers(stars: type[az.Task]) -> None:
    by_name, by_class = train(), train(stars, "other")
    assert_same_weights(by_name.model, by_class.model)
    words = ("--epochs", 2, "--learning-rate", 1e-3, "--batch-size", 8, "--disable-tqdm")
    files = ("--train", "rows.jsonl", "--eval", "dev.jsonl", "--output", "third")
    assert command("train", TASK, "--model", "base", *files, *words) == 0
    texts = [row["text"] for row in star_rows(10)]
    expected = az.pipeline(stars, "run", precision="fp32")(texts)
    assert az.pipeline(TASK, "third", precision="fp32")(texts) == expected
    by_hand = Trainer.from_pretrained("other", task=TASK)
    found = by_hand.predict(texts).predictions
    assert [round(float(value), 2) for value in found] == [each["stars"] for each in expected]
    assert command("predict", "third", "dev.jsonl", "--task", TASK, "-o", "out.jsonl") == 0
    assert answers_of_file("out.jsonl") == [each["stars"] for each in expected]


def test_what_is_trained_is_what_evaluation_and_its_command_measure(capsys: Any) -> None:
    trainer = train()
    figures = trainer.evaluate(star_rows(10))
    again = Trainer(task_type(TASK).load_model("run"), trainer.args, task=TASK)
    again_figures = again.evaluate(star_rows(10))
    capsys.readouterr()
    assert command("evaluate", "run", "dev.jsonl", "--task", TASK, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    for name in ("loss", "mae"):
        assert again_figures[f"eval_{name}"] == pytest.approx(figures[f"eval_{name}"], abs=1e-5)
        assert printed[name] == pytest.approx(figures[f"eval_{name}"], abs=1e-5)


def test_a_trainer_takes_a_class_a_reference_and_a_task(
    stars: type[az.Task], tmp_path: Path
) -> None:
    ready = stars(stars.settings_type())
    for number, task in enumerate((stars, TASK, ready)):
        torch.manual_seed(0)
        model = stars.load_model("base")
        trainer = Trainer(model, small_arguments(tmp_path / str(number)), star_rows(), task=task)
        trainer.train()
    assert_same_weights(*(stars.load_model(tmp_path / n / "best") for n in ("0", "1")))
    assert_same_weights(*(stars.load_model(tmp_path / n / "best") for n in ("1", "2")))


def test_a_task_that_is_ready_takes_no_settings(stars: type[az.Task]) -> None:
    ready = stars(stars.settings_type(max_length=16))
    assert train(ready).task is ready
    assert az.pipeline(ready, "run")("a good film")["stars"]
    with pytest.raises(ConfigError, match="has its settings already; leave out `text_column`"):
        train(ready, text_column="text")
    with pytest.raises(ConfigError, match="leave out `text_column`"):
        az.pipeline(ready, "run", text_column="text")


def test_settings_are_options_of_fit_and_of_the_command(capsys: Any) -> None:
    rows = [{"remark": row["text"], "given": row["stars"]} for row in star_rows()]
    run = az.fit(TASK, rows, model="base", text_column="remark", label_column="given", **QUICK)
    assert run.trainer.model.task_settings["settings"]["text_column"] == "remark"
    with pytest.raises(ConfigError, match=r"no option `text_colum`\. Did you mean `text_column`"):
        az.fit(TASK, rows, model="base", text_colum="remark")
    assert main(["train", TASK, "--help"]) == 0
    said = capsys.readouterr().out
    assert "How many stars does a text give?" in said
    assert "--label-column" in said
    assert "Column of the stars." in said


def test_the_command_says_how_to_go_on_with_a_task_of_ones_own(capsys: Any) -> None:
    files = ("--train", "rows.jsonl", "--eval", "dev.jsonl", "--epochs", 1, "--disable-tqdm")
    assert command("train", TASK, "--model", "base", *files) == 0
    assert f"abrazo predict results FILE --task {TASK}" in capsys.readouterr().out


def test_explain_shows_a_model_with_a_head_of_its_own(capsys: Any) -> None:
    train()
    assert main(["explain", "run", "--task", TASK]) == 0
    assert "BertForStars" in capsys.readouterr().out


def test_trials_of_a_search_learn_a_task_of_ones_own(capsys: Any) -> None:
    pytest.importorskip("optuna")
    files = ("--train", "rows.jsonl", "--eval", "dev.jsonl", "--disable-tqdm", "--max-steps", 2)
    space = ("--space", "learning_rate=1e-3..1e-2:log", "--trials", 1)
    assert command("search", TASK, "--model", "base", *files, *space, "--output", "found") == 0
    assert "The best is trial 0" in capsys.readouterr().out
    assert az.pipeline(TASK, "found/trials/0")("a good film")["stars"]


# Learning, going on, saving --------------------------------------------------------------------


def test_a_head_of_ones_own_learns() -> None:
    trainer = train(num_train_epochs=20, learning_rate=5e-3, **AT_THE_END)
    assert trainer.evaluate(star_rows())["eval_mae"] < 0.3


def test_a_broken_run_goes_on_bit_for_bit(stars: type[az.Task], tmp_path: Path) -> None:
    def trainer(folder: str, *callbacks: az.Callback) -> Trainer:
        torch.manual_seed(0)
        args = small_arguments(tmp_path / folder, save_steps=2, save_strategy="steps")
        model = stars.load_model("base")
        return Trainer(model, args, star_rows(), task=stars, callbacks=callbacks)

    whole = trainer("whole")
    whole.train()
    with pytest.raises(CrashError):
        trainer("broken", CrashAt(5)).train()
    resumed = trainer("broken")
    resumed.train()
    assert resumed.state.global_step == whole.state.global_step
    assert_same_weights(whole.model, resumed.model)


def test_saved_and_loaded_answers_bit_for_bit_the_same(stars: type[az.Task]) -> None:
    model = train().model
    loaded = stars.load_model("run")
    assert type(loaded) is type(model)
    inputs = tiny_tokenizer()(["a good film", "这部电影很好看"], padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    config = json.loads(Path("run/best/config.json").read_text())
    assert config["architectures"] == ["BertForStars"]
    assert json.loads(Path("run/best/abrazo.json").read_text())["task"] == "stars"


def test_a_new_head_begins_as_it_is_built(stars: type[az.Task]) -> None:
    head = stars.load_model("base").head
    assert head is not None
    assert head.offsets.tolist() == pytest.approx([1.0, 1 / 3, -1 / 3, -1.0])


def test_buffers_of_a_head_are_as_built_after_loading(tmp_path: Path) -> None:
    class CountingHead(MultipleChoice.head_plan.build):  # type: ignore[misc,name-defined]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.register_buffer("levels", torch.arange(1.0, 5.0), persistent=False)

    plan = az.HeadPlan(CountingHead)
    load_model("base", "counting", plan=plan).save_pretrained(tmp_path / "saved")
    loaded = load_model(tmp_path / "saved", "counting", plan=plan)
    assert loaded.head.levels.tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]


@pytest.mark.parametrize("family", TINY)
def test_the_head_goes_on_every_family(family: str, stars: type[az.Task], tmp_path: Path) -> None:
    bare = models_of(family)[""](tiny_family_config(family, vocab_size=len(VOCAB)))
    scramble(bare)
    bare.tokenizer = tiny_tokenizer(40)
    bare.save_pretrained(tmp_path / "bare")
    trainer = train(stars, model=tmp_path / "bare", num_train_epochs=1)
    assert type(trainer.model).__name__.endswith("ForStars")
    loaded = stars.load_model("run")
    assert_same_weights(trainer.model, loaded)
    other = load_model("run", "")  # the trained backbone goes on without the head
    assert not other.head_name


def test_models_with_a_head_of_ones_own_can_be_copied_and_pickled() -> None:
    model = MultipleChoice.load_model("base")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        assert_same_weights(model, other)


def test_a_class_with_the_head_is_three_lines(stars: type[az.Task]) -> None:
    class BertForStars(az.PretrainedModel):
        family = az.BertModel.family.with_head("stars", stars.head_plan)  # type: ignore[arg-type]
        head_name = "stars"

    model = train(model="base", model_class=BertForStars).model
    assert type(model) is BertForStars
    assert_same_weights(model, BertForStars.from_pretrained("run"))


# Multiple choice: several stretches a row, and a class that transformers has too -----------------


def test_multiple_choice_learns_and_answers_as_in_transformers(tmp_path: Path) -> None:
    rows = choice_rows()
    options = {**QUICK, "num_train_epochs": 30, "learning_rate": 5e-3, **AT_THE_END}
    trainer = az.fit(MultipleChoice, rows, model="base", eval_data=rows, **options).trainer
    assert trainer.evaluate()["eval_accuracy"] > 0.9
    choose = az.pipeline(MultipleChoice, trainer.model, precision="fp32")
    answers = choose([(row["text"], row["choices"]) for row in rows])
    theirs = transformers.BertForMultipleChoice.from_pretrained(tmp_path / "results" / "best")
    for row, answer in zip(rows[:8], answers, strict=False):
        pairs = trainer.tokenizer(
            [row["text"]] * 3, row["choices"], padding=True, return_tensors="pt"
        )
        with torch.no_grad():
            logits = theirs(**{name: value[None] for name, value in pairs.items()}).logits[0]
        assert int(logits.argmax()) == answer["choice"]
        assert float(logits.softmax(-1).max()) == pytest.approx(answer["score"], abs=1e-5)


# Tasks that change another ------------------------------------------------------------------------


class Urgency(TextClassification):
    """Classes, with answers in another form."""

    name = "urgency"

    def answer(self, prediction: Any, *, top_k: int | None = 1) -> Any:
        """Return the class alone."""
        found = super().answer(prediction, top_k=top_k)
        return found["label"] if top_k == 1 else found


def test_a_subclass_of_a_task_serves_by_its_own_ways() -> None:
    rows = [
        {"text": row["text"], "label": "high" if row["stars"] > 3 else "low"} for row in star_rows()
    ]
    az.fit(Urgency, rows, model="base", **QUICK)
    classify = az.pipeline(Urgency, "results")
    assert classify("a good film") in ("high", "low")
    assert type(classify).__name__ == "TextClassificationPipeline"
    with pytest.raises(ConfigError, match="trained for the task 'urgency', which is none of"):
        Trainer.from_pretrained("results")
    with pytest.raises(ConfigError, match="trained for 'urgency', so it cannot serve 'text-class"):
        az.pipeline("text-classification", "results")


# Code comes from the user alone -----------------------------------------------------------------


def test_a_model_of_a_task_of_ones_own_says_how_to_give_it(capsys: Any) -> None:
    train()
    said = r"was trained for the task 'stars'.*`task=MyTask`, .*`--task my_file.py:MyTask`"
    with pytest.raises(ConfigError, match=said):
        Trainer.from_pretrained("run")
    with pytest.raises(ConfigError, match=said):
        az.load_model("run")
    assert command("predict", "run", "rows.jsonl") == 2
    assert "was trained for the task 'stars'" in capsys.readouterr().err


def test_no_file_of_a_model_names_code(tmp_path: Path, capsys: Any) -> None:
    tiny_folder(tmp_path / "bad", labels=["bad", "good"])
    for place in (tmp_path, tmp_path / "bad"):
        (place / "evil.py").write_text("raise SystemExit('code of a model has run')")
    for name in ("evil.py:Evil", f"{tmp_path}/bad/evil.py:Evil", TASK):
        named = {"task": name, "settings": {"task": name}, "model_class": name}
        (tmp_path / "bad" / "abrazo.json").write_text(json.dumps(named))
        config = json.loads((tmp_path / "bad" / "config.json").read_text())
        config |= {"architectures": [name], "auto_map": {"AutoModel": name}, "task": name}
        (tmp_path / "bad" / "config.json").write_text(json.dumps(config))
        for load in (
            lambda: Trainer.from_pretrained("bad"),
            lambda: az.load_model("bad"),
            lambda: az.pipeline("text-classification", "bad"),
        ):
            with pytest.raises((ConfigError, CheckpointError)):
                load()
        assert command("predict", "bad", "rows.jsonl") == 2
        assert command("evaluate", "bad", "rows.jsonl") == 2
        capsys.readouterr()


def test_wrong_rows_are_named_by_a_task_of_ones_own() -> None:
    rows = star_rows()
    rows[6]["stars"] = 9
    with pytest.raises(DataError, match=r"row 7: stars must be from 1 to 5, not 9"):
        task_type(TASK)(task_type(TASK).settings_type()).encode(
            rows, range(len(rows)), tiny_tokenizer(), with_labels=True
        )


# Mistakes -----------------------------------------------------------------------------------------

INCOMPLETE = """
import abrazo as az
class Half(az.Task):
    head_name = "half"
    def encode(self, *args, **kwargs): ...
"""
NOT_FROZEN = """
import abrazo as az
from stars import Stars
class Settings(az.TaskSettings):
    text_column: str = "text"
class Mine(Stars):
    name = "mine"
    settings_type = Settings
"""
MISTAKES = [
    ("absent.py:Stars", "", r"`absent.py` cannot be read: No such file"),
    ("own.py:Stars", "x = 1/0", r"`own.py` cannot be run: ZeroDivisionError: division by zero"),
    ("own.py:Stars", "class Strs: ...", r"`own.py` has no `Stars`.* `Task` in it: none"),
    ("own.py:Half", INCOMPLETE, r"task `Half` must define `answer`, `as_row`, .*`name`"),
    ("own.py:Hlf", INCOMPLETE, r"has no `Hlf`. .* in it: `Half`. Did you mean `Half`"),
    ("own.py:az", INCOMPLETE, r"`az` of `own.py` must be a class derived from `Task`"),
    ("own.py:Mine", NOT_FROZEN, r"`Settings` must be a dataclass: put"),
    ("strs", "", r"The task must be one of .* One of your own is given .* `my_file.py:MyTask`"),
]


@pytest.mark.parametrize(("reference", "text", "said"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_in_a_file_are_told(
    reference: str, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    if text:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        az.fit(reference, star_rows(), model="base")


def test_a_task_has_a_name_of_its_own() -> None:
    class Same(TextClassification):
        """The same name."""

    for take in (
        lambda: az.fit(Same, star_rows(), model="base"),
        lambda: az.pipeline(Same, "base"),
        lambda: Trainer(MultipleChoice.load_model("base"), task=Same),
    ):
        with pytest.raises(ConfigError, match="'text-classification' is a task of abrazo"):
            take()


@pytest.mark.parametrize("task", [3, dict, object()], ids=["number", "class", "object"])
def test_what_is_no_task_is_refused(task: Any) -> None:
    with pytest.raises(ConfigError, match="must be a name or a class derived from `Task`"):
        az.fit(task, star_rows(), model="base")


def test_a_model_with_another_head_is_refused(stars: type[az.Task], tmp_path: Path) -> None:
    model = az.BertForSequenceClassification.from_pretrained("base")
    said = "needs a model with the head 'stars', but BertForSequenceClassification has"
    with pytest.raises(ConfigError, match=said):
        Trainer(model, small_arguments(tmp_path / "run"), star_rows(), task=stars).train()
    with pytest.raises(ConfigError, match=said):
        Trainer(model, task=stars)


def test_a_head_that_the_family_has_is_not_planned_again() -> None:
    class Twice(Urgency):
        """A plan for a head that there is."""

        name = "twice"
        head_name = "masked_lm"
        head_plan = MultipleChoice.head_plan

    assert type(Twice.load_model("base")).__name__ == "BertForMaskedLM"
    with pytest.raises(ConfigError, match="bert models have a head 'masked_lm'"):
        az.BertModel.family.with_head("masked_lm", MultipleChoice.head_plan)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="letters, digits and underscores, but is 'a b'"):
        az.BertModel.family.with_head("a b", MultipleChoice.head_plan)  # type: ignore[arg-type]


def test_a_changed_file_is_run_again(tmp_path: Path) -> None:
    first = load_class(TASK, az.Task)  # type: ignore[type-abstract]
    assert load_class(TASK, az.Task) is first  # type: ignore[type-abstract]
    text = (tmp_path / "stars.py").read_text(encoding="utf-8")
    (tmp_path / "stars.py").write_text(text.replace("LEVELS = 5", "LEVELS = 7"), encoding="utf-8")
    assert load_class(TASK, az.Task) is not first  # type: ignore[type-abstract]
