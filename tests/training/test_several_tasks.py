"""Several tasks learned together: training keeps its promises, and parts serve what is learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abrazo.checkpoints.safetensors import open_tensors
from abrazo.data.dataset import Dataset
from abrazo.data.mixture import Mixture
from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError, TrainingError
from abrazo.inference.pipeline import pipeline
from abrazo.models.adapters import add_lora
from abrazo.models.multi_task import MultiTaskModel
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.multi_task import MultiTask
from abrazo.tasks.text_classification import TextClassification
from abrazo.tasks.token_classification import TokenClassification, TokenClassificationSettings
from abrazo.training.feeding import Feeder
from abrazo.training.fit import fit
from abrazo.training.trainer import Trainer
from helpers.several import TAGS, two_task_model, two_task_rows
from helpers.tiny import tiny_folder, tiny_rows
from helpers.training import (
    CrashAt,
    CrashError,
    assert_same_weights,
    small_model,
    small_trainer,
    weights_of,
    without_timings,
)

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "disable_tqdm": True}


@pytest.fixture(autouse=True)
def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plots take longer than the run."""
    monkeypatch.setattr(
        "abrazo.training.callbacks.html_report.HtmlReportCallback.on_train_end",
        lambda self, trainer: None,
    )


def trainer_of(folder: Path, *, seed: int = 0, **changes: Any) -> Trainer:
    """Return a trainer of 24 + 16 rows, so that an epoch has 5 steps."""
    usual = {
        "model": two_task_model(seed=seed),
        "train_dataset": two_task_rows(),
        "eval_dataset": two_task_rows(8, 6),
    }
    options = changes.pop("options", {})
    return small_trainer(folder, options={**usual, **options}, **changes)


def test_two_tasks_of_32_rows_are_learned_by_heart(tmp_path: Path) -> None:
    rows = two_task_rows(32, 32)
    options = {
        "model": two_task_model(dropout=0.0),
        "train_dataset": rows,
        "eval_dataset": rows,
    }
    trainer = trainer_of(tmp_path, options=options, num_train_epochs=40, learning_rate=3e-3)
    metrics = trainer.train().metrics
    assert metrics["eval_intent_accuracy"] == 1
    assert metrics["eval_slots_f1"] == 1
    assert metrics["eval_loss"] == pytest.approx(
        (metrics["eval_intent_loss"] + metrics["eval_slots_loss"]) / 2
    )


SAMPLINGS = ["size", "equal", {"intent": 1, "slots": 3}]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["size", "equal", "shares"])
@pytest.mark.parametrize("step", [3, 8, 13])
def test_resuming_equals_never_having_stopped(tmp_path: Path, step: int, sampling: Any) -> None:
    def run(folder: str, **changes: Any) -> Trainer:
        rows = Mixture(two_task_rows(), sampling=sampling, weights={"slots": 0.5})
        callbacks = changes.pop("callbacks", [])
        options = {"train_dataset": rows, "callbacks": callbacks}
        return trainer_of(tmp_path / folder, options=options, save_steps=2, **changes)

    settings = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    whole = run("whole", **settings)
    whole.train()
    with pytest.raises(CrashError):
        run("broken", callbacks=[CrashAt(step)], **settings).train()
    torch.manual_seed(step)  # whatever the process drew before must not matter
    resumed = run("broken", seed=9, **settings)
    resumed.train()
    assert_same_weights(resumed.model, whole.model)
    assert without_timings(resumed.state.log_history) == without_timings(whole.state.log_history)
    assert resumed.state.best_step == whole.state.best_step
    for name in ("model", "optimizer", "rng"):
        file = Path("checkpoint-15") / f"{name}.safetensors"
        ours, theirs = (open_tensors(tmp_path / run / file) for run in ("broken", "whole"))
        assert ours.names == theirs.names
        assert all(torch.equal(ours.tensor(n), theirs.tensor(n)) for n in ours.names)


def test_resuming_is_exact_with_masked_words_and_adapters(tmp_path: Path) -> None:
    def run(folder: str, *callbacks: CrashAt) -> Trainer:
        slots = small_model("token_classification", id2label=dict(enumerate(TAGS)))
        model = MultiTaskModel({"words": small_model("masked_lm"), "slots": slots})
        add_lora(model, rank=2)
        rows = two_task_rows()
        words = [{"text": row["text"]} for row in rows["intent"]]
        options = {
            "model": model,
            "train_dataset": {"words": words, "slots": rows["slots"]},
            "eval_dataset": None,
            "callbacks": callbacks,
        }
        return trainer_of(tmp_path / folder, options=options, save_steps=2)

    torch.manual_seed(0)
    whole = run("whole")
    assert isinstance(whole.task.parts["words"], MaskedLM)
    before = weights_of(whole.model)
    whole.train()
    torch.manual_seed(0)  # for the same new adapters
    with pytest.raises(CrashError):
        run("broken", CrashAt(7)).train()
    torch.manual_seed(0)
    resumed = run("broken")
    resumed.train()
    assert_same_weights(resumed.model, whole.model)
    trained = {n for n, w in weights_of(whole.model).items() if not torch.equal(w, before[n])}
    assert any("lora" in name for name in trained)
    assert {name.rpartition(".")[0] for name in trained} >= {"head.heads.1.classifier"}
    assert not any(name.startswith("backbone.embeddings") for name in trained)


def test_one_batch_of_16_and_four_of_4_make_the_same_steps(tmp_path: Path) -> None:
    found = []
    for size, times in ((16, 1), (4, 4)):
        trainer = trainer_of(
            tmp_path / str(size),
            options={"model": two_task_model(dropout=0.0), "eval_dataset": None},
            per_device_train_batch_size=size,
            gradient_accumulation_steps=times,
            logging_steps=1,
            max_steps=3,
        )
        trainer.train()
        names = ("loss", "loss_intent", "loss_slots", "grad_norm")
        found += [[entry[name] for name in names] for entry in trainer.state.log_history[:3]]
    np.testing.assert_allclose(found[:3], found[3:], rtol=1e-4)


def test_weights_say_how_much_a_task_counts(tmp_path: Path) -> None:
    start = two_task_model(dropout=0.0)

    def moved(weights: dict[str, float]) -> dict[str, float]:
        options = {
            "model": two_task_model(dropout=0.0),
            "train_dataset": Mixture(two_task_rows(), weights=weights),
            "eval_dataset": None,
        }
        trainer = trainer_of(tmp_path / str(weights), options=options, max_steps=1)
        trainer.train()
        loss = {n: v for n, v in trainer.state.log_history[0].items() if n.startswith("loss")}
        return loss

    plain, heavy = moved({}), moved({"slots": 4.0})
    assert plain["loss_intent"] == pytest.approx(heavy["loss_intent"])
    assert plain["loss_slots"] == pytest.approx(heavy["loss_slots"])
    assert heavy["loss"] > plain["loss"]
    assert start.head.weights == {"intent": 1.0, "slots": 1.0}


def test_losses_and_figures_are_told_by_task(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, metric_for_best_model="slots_accuracy", eval_steps=5)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all({"loss_intent", "loss_slots"} <= set(entry) for entry in entries)
    assert trainer.watch.direction == "max"
    assert trainer.state.best_metrics["eval_slots_accuracy"] == trainer.state.best_metric
    alone = trainer.evaluate({"intent": two_task_rows()["intent"]})
    assert alone["eval_loss"] == alone["eval_intent_loss"]
    assert not any(name.startswith("eval_slots") for name in alone)


def test_losses_by_task_are_those_since_the_last_entry(tmp_path: Path) -> None:
    trainer = trainer_of(
        tmp_path,
        options={"model": two_task_model(dropout=0.0), "eval_dataset": None},
        logging_steps=1,
        num_train_epochs=1,
        learning_rate=1e-12,  # so that the model is at the end what it was
    )
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    steps = list(trainer.feeder.steps(0))
    assert len(entries) == len(steps) == 5
    for entry, step in zip(entries, steps, strict=True):
        with torch.no_grad():
            loss = trainer.model.compute_loss(step.batches[0])[0]
        told = {f"loss_{name}": float(part.mean) for name, part in loss.parts.items()}
        told["loss"] = float(loss.mean)
        logged = {name: value for name, value in entry.items() if name.startswith("loss")}
        assert logged == pytest.approx(told, rel=1e-4)


def test_a_row_that_comes_twice_in_a_step_is_learned_from_twice() -> None:
    rows = two_task_rows(12, 2)
    model = two_task_model()
    tasks = {
        "intent": TextClassification.of_model(model.part("intent")),
        "slots": TokenClassification.learn(as_rows(rows["slots"]), TokenClassificationSettings()),
    }
    tasks["slots"].prepare_model(model.part("slots"))
    feeder = Feeder(
        Mixture(rows, sampling="equal"), MultiTask(tasks), model.tokenizer, seed=1, batch_size=14
    )
    (step,) = feeder.steps(0)
    assert [part.layout.num_rows for _, part in sorted(step.batches[0].parts.items())] == [7, 7]
    assert sorted(step.batches[0].rows) == sorted(step.rows.tolist())


def test_metrics_of_ones_own_are_given_by_task(tmp_path: Path) -> None:
    def right(given: Any) -> dict[str, float]:
        return {"right": float(np.mean(given.predictions.argmax(-1) == given.label_ids))}

    options = {"metrics": {"intent": right}}
    trainer = trainer_of(tmp_path, options=options, metric_for_best_model="intent_right")
    figures = trainer.train().metrics
    assert "eval_intent_right" in figures
    assert "eval_intent_accuracy" not in figures
    assert "eval_slots_f1" in figures
    with pytest.raises(ConfigError, match=r"must be a dict by task \(intent, slots\)"):
        trainer_of(tmp_path, options={"metrics": right})


def test_parts_serve_what_was_evaluated(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "run")
    figures = trainer.train().metrics
    trainer.save_model(tmp_path / "several")
    trainer.model.part("intent").save_pretrained(tmp_path / "intent")
    texts = [row["text"] for row in two_task_rows(8)["intent"]]
    answers = [
        pipeline("text-classification", source, precision="fp32")(texts)
        for source in (
            trainer.model,
            tmp_path / "run",
            tmp_path / "several",
            tmp_path / "intent",
        )
    ]
    for other in answers[1:]:
        assert other == answers[0]
    labels = [row["label"] for row in two_task_rows(8)["intent"]]
    right = [answer["label"] == label for answer, label in zip(answers[0], labels, strict=True)]
    assert np.mean(right) == figures["eval_intent_accuracy"]
    words = two_task_rows()["slots"][0]["tokens"]
    tagged = pipeline("token-classification", tmp_path / "several", precision="fp32")(words)
    assert tagged == pipeline("ner", trainer.model, precision="fp32")(words)
    again = Trainer.from_pretrained(tmp_path / "run")
    evaluated = again.evaluate(two_task_rows(8, 6))
    assert evaluated["eval_slots_f1"] == figures["eval_slots_f1"]


def test_one_line_learns_several_tasks(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base", "")
    rows = two_task_rows(40, 30)
    Dataset.from_list(rows["intent"]).to_csv(tmp_path / "intent.csv")
    result = fit(
        "multi-task",
        {
            "intent": {"task": "intent", "train": tmp_path / "intent.csv", "max_length": 20},
            "slots": {"task": "ner", "train": rows["slots"], "eval": rows["slots"][:5]},
        },
        model=base,
        output_dir=tmp_path / "run",
        sampling="equal",
        weights={"slots": 0.5},
        **QUICK,
    )
    assert {"eval_loss", "eval_intent_accuracy", "eval_slots_f1"} <= set(result.metrics)
    loaded = MultiTaskModel.from_pretrained(result.path)
    assert loaded.part("intent").task_settings["settings"]["max_length"] == 20
    assert result.trainer.feeder.source.counts == {"intent": 33, "slots": 33}
    assert result.trainer.task.weights == {"intent": 1.0, "slots": 0.5}
    assert fit(
        "multi-task",
        {name: {"task": kind, "train": rows[name]} for name, kind in (("slots", "ner"),)},
        model=base,
        output_dir=tmp_path / "one",
        **QUICK,
    ).metrics["eval_loss"]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ({}, {}, ConfigError, "must be a dict of tasks"),
        ({"a": []}, {}, ConfigError, "`a` must be like"),
        ({"a": {"train": []}, "b": {"task": "ner"}}, {}, ConfigError, "`b` must say its `train`"),
        ({"a": {"task": "nerr", "train": [{"x": 1}]}}, {}, ConfigError, "Did you mean `ner`"),
        (
            {"a": {"task": "intent", "train": tiny_rows(8), "txt_column": "x"}},
            {},
            ConfigError,
            "no field `txt_column`. Did you mean `text_column`",
        ),
        (
            {"a": {"task": "summarization", "train": []}, "b": {"task": "nerr", "train": []}},
            {},
            ConfigError,
            "The task `a`: 'summarization' writes texts(.|\\n)*The task `b`: (.|\\n)*`ner`",
        ),
        ({"a": {"task": "feature-extraction", "train": []}}, {}, ConfigError, "no head of its own"),
        (
            {name: {"task": "intent", "train": [{"x": 1}]} for name in "ab"},
            {},
            DataError,
            "The task `a`: No column for the text(.|\\n)*The task `b`: No column",
        ),
        ({}, {"samplig": "size"}, ConfigError, "Did you mean `sampling`"),
        ({}, {"eval_data": []}, ConfigError, "give each its `eval`"),
        (
            {"a": {"task": "intent", "train": tiny_rows(8)}},
            {"weights": {"b": 1}},
            ConfigError,
            "`weights` names the task 'b'",
        ),
        (
            {
                "a": {"task": "intent", "train": tiny_rows(8)},
                "b": {"task": "intent", "train": tiny_rows(40)},
            },
            {},
            ConfigError,
            "no rows to evaluate `a` on",
        ),
    ],
)
def test_entries_that_cannot_be_used_are_told(
    data: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit("multi-task", data, model="nowhere", **options)


def test_data_and_tasks_must_be_the_same(tmp_path: Path) -> None:
    rows = two_task_rows()
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"train_dataset": {"intent": rows["intent"]}},
            ConfigError,
            "no rows for the task `slots`",
        ),
        (
            {"train_dataset": {**rows, "slotts": rows["slots"]}},
            ConfigError,
            "task 'slotts', which the model does not have. Did you mean `slots`",
        ),
        ({"train_dataset": {}}, ConfigError, "no rows for the task `intent`"),
        ({"train_dataset": rows["intent"]}, DataError, r"several tasks \(intent, slots\)"),
        ({"eval_dataset": {"slots": rows["slots"]}}, ConfigError, "no rows for the task `intent`"),
        ({"model": small_model(), "train_dataset": Mixture(rows)}, ConfigError, "`MultiTaskModel`"),
        ({"data_collator": list}, ConfigError, "`data_collator` reads the rows of one task"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            trainer_of(tmp_path, options=options)


def test_what_only_a_part_can_do_is_told(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    for inputs in ("a fine film", ["a fine film"], [{"text": "a fine film", "label": "good"}]):
        with pytest.raises(ConfigError, match=r"model.part\('intent'\)"):
            trainer.predict(inputs)
    with pytest.raises(ConfigError, match="search is for models of one task"):
        trainer.hyperparameter_search(n_trials=1)
    with pytest.raises(TrainingError, match="`loss` and `output_class` are for models of one task"):
        trainer_of(tmp_path, options={"loss": "focal"}).train()


def test_bad_rows_are_named_with_their_task(tmp_path: Path) -> None:
    rows = two_task_rows()
    rows["slots"][2] = {"tokens": ["a", "film"], "tags": ["O"]}
    with pytest.raises(DataError, match="row 3"):
        trainer_of(tmp_path, options={"train_dataset": rows})
    rows = two_task_rows()
    rows["intent"][1] = {"text": "", "label": "bad"}
    with pytest.raises(TrainingError, match="- intent: row 2: `text` is empty"):
        trainer_of(tmp_path, options={"train_dataset": rows}).train()


def test_a_loss_that_is_no_number_names_row_and_task(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, options={"model": two_task_model(dropout=0.0)})
    with torch.no_grad():
        trainer.model.part("slots").head.classifier.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"It comes from slots: row \d+") as caught:
        trainer.train()
    assert "intent:" not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"sampling": "equal"}, {"weights": {"intent": 2}}], ids=["sampling", "weights"]
)
def test_another_mixture_is_another_run(tmp_path: Path, changed: dict[str, Any]) -> None:
    trainer_of(tmp_path, max_steps=2).train()
    other = {"train_dataset": Mixture(two_task_rows(), **changed)}
    with pytest.raises(TrainingError, match="the training data is another"):
        trainer_of(tmp_path, options=other, max_steps=2).train()


def test_rows_of_like_length_come_together(tmp_path: Path) -> None:
    rows = Mixture(two_task_rows(64, 64), sampling="equal")
    trainer = trainer_of(
        tmp_path, options={"train_dataset": rows}, group_by_length=True, max_steps=1
    )
    trainer.train()
    for step in trainer.feeder.steps(0):
        assert np.ptp(step.batches[0].layout.lengths) <= 4


class RandomRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows that are computed, anew each time they are asked for."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, number: int) -> dict[str, Any]:
        words = ["fine", "bad"][: 1 + int(torch.randint(2, ()))]
        return {"tokens": words, "tags": ["B-JUDGEMENT"] * len(words)}


def test_computed_rows_of_a_task_are_computed_each_epoch(tmp_path: Path) -> None:
    rows = Mixture({"intent": tiny_rows(5), "slots": RandomRows()}, sampling="equal")
    trainer = trainer_of(tmp_path, options={"train_dataset": rows, "eval_dataset": None})
    trainer.train()
    assert trainer.feeder.computes_rows
    tokens = [
        [
            batch.parts["slots"].layout.num_tokens
            for step in trainer.feeder.steps(epoch)
            for batch in step.batches
            if "slots" in batch.parts
        ]
        for epoch in (0, 1, 0)
    ]
    assert tokens[0] == tokens[2] != tokens[1]
