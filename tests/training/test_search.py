"""Searching for hyper-parameters: what is tried, what becomes of trials, and going on."""

import dataclasses
import functools
import multiprocessing
import re
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import abrazo.cli.search
import abrazo.training.trial
from abrazo.cli.main import main
from abrazo.errors import ConfigError, MissingExtraError, TrainingError
from abrazo.models.adapters import add_lora
from abrazo.models.freezing import freeze
from abrazo.tasks.text_classification import TextClassificationSettings
from abrazo.training.arguments import TrainingArguments
from abrazo.training.search import BestRun, SearchOptions, _default_types, search
from abrazo.training.search_report import SearchReport, TrialSummary, render_search_report
from abrazo.training.search_space import (
    Choice,
    IntRange,
    Space,
    Uniform,
    default_space,
    parse_ranges,
)
from abrazo.training.trainer import Trainer
from abrazo.training.trial import (
    Began,
    Completed,
    Evaluated,
    Failed,
    Ingredients,
    Job,
    Message,
    Pruned,
    TrialProcess,
    load_start,
    run_trial,
    write_start,
)
from helpers.tiny import tiny_rows
from helpers.training import EndsItself, assert_same_weights, small_model, small_trainer, weights_of

optuna = pytest.importorskip("optuna")

RATES: dict[str, Any] = {"learning_rate": Uniform(1e-5, 1e-2, log=True)}
Script = Callable[[Job], list[Message]]


class ScriptedTrial(TrialProcess):
    """Says what a script says, without a process."""

    def __init__(self, job: Job, script: Script) -> None:
        self.job, self.words = job, script(job)
        self.has_begun = False
        self.was_killed = False
        self.reader, self.writer = multiprocessing.Pipe(duplex=False)
        self.writer.send("always ready")
        job.args.folder.mkdir(parents=True)

    def handles(self) -> list[Any]:
        return [self.reader]

    def message(self) -> Message | None:
        word = self.words.pop(0)
        self.has_begun = self.has_begun or isinstance(word, Began)
        return word

    def answer(self, is_pruned: bool) -> None:
        if is_pruned:
            self.words = [Pruned()]

    def close(self, *, kills: bool = False) -> None:
        self.was_killed = kills
        self.reader.close()
        self.writer.close()


class Launcher:
    """Launches scripted trials and remembers them."""

    def __init__(self, script: Script) -> None:
        self.script, self.launched = script, list[ScriptedTrial]()

    def __call__(self, job: Job) -> ScriptedTrial:
        self.launched.append(ScriptedTrial(job, self.script))
        return self.launched[-1]

    @property
    def rates(self) -> list[float]:
        return [trial.job.args.learning_rate for trial in self.launched]


def ends_with(*values: float) -> Script:
    """Return a script whose trials complete with these values in turn."""
    remaining = list(values)
    return lambda job: [Began(), Completed(remaining.pop(0), {"eval_accuracy": 0.5})]


def scripted(
    folder: Path, script: Script, space: Space | None = None, **options: Any
) -> tuple[BestRun, Launcher]:
    launcher = Launcher(script)
    options.setdefault("storage", optuna.storages.InMemoryStorage())
    trainer = small_trainer(folder)
    best = search(trainer, space or RATES, SearchOptions(**options), launch=launcher)
    return best, launcher


# What is tried


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"learing_rate": Uniform(0, 1)},
            "`learing_rate` to search. Did you mean `learning_rate`?",
        ),
        ({"max_lenght": Choice([8])}, "Did you mean `max_length`?"),
        ({"learning_rate": Uniform(-1, 1)}, "`learning_rate` must be above 0, but is -1"),
        ({"lr_scheduler_type": Choice(["linear", "cosin"])}, "Did you mean `cosine`?"),
        ({"max_length": Choice(["long"])}, "`max_length` must be of type int"),
        ({"lr": Uniform(0.1, 1), "learning_rate": Uniform(0.1, 1)}, "are one setting"),
        ({"output_dir": Choice(["a"])}, "`output_dir` cannot be searched"),
        ({"weight_decay": [0.0, 0.1]}, "`weight_decay` must be given a `Uniform`"),
        ({}, "`space` must map settings"),
        (lambda trial: {"learnin_rate": 0.1}, "Did you mean `learning_rate`?"),
        (lambda trial: {"learning_rate": [0.1]}, "`learning_rate` is [0.1]"),
        (lambda trial: None, "must return a dict of settings, but returned None"),
    ],
)
def test_a_wrong_space_is_told_before_any_trial(tmp_path: Path, space: Any, said: str) -> None:
    launcher = Launcher(ends_with(1.0))
    with pytest.raises(ConfigError, match=re.escape(said)):
        search(small_trainer(tmp_path), space, SearchOptions(n_trials=1), launch=launcher)
    assert launcher.launched == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Uniform(2, 1), "`low` is above `high`"),
        (lambda: Uniform(0, 1, log=True), "`low` must be above 0"),
        (lambda: IntRange(1, 2.5), "must be whole numbers"),  # type: ignore[arg-type]
        (lambda: IntRange(1, 9, step=2, log=True), "leave one out"),
        (lambda: Choice([]), "at least one value"),
        (lambda: Choice("adam"), "a list of values"),
        (lambda: Uniform(0, float("inf")), "must be numbers"),
    ],
)
def test_a_wrong_range_is_told(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        make()


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        SearchOptions(n_trials=0, n_jobs=0, timeout=-1, direction="up")
    assert [word for word in ("n_trials", "n_jobs", "timeout", "direction") if word not in str(told.value)] == []  # fmt: skip  # noqa: E501
    with pytest.raises(ConfigError, match="Did you mean `n_trials`"):
        SearchOptions(n_trails=3)  # type: ignore[call-arg]


def test_usual_ranges_leave_out_what_the_run_makes_idle() -> None:
    usual = default_space(TrainingArguments(learning_rate=1e-4))
    assert usual["learning_rate"] == Uniform(1e-5, 1e-3, log=True)
    assert {"num_train_epochs", "warmup_ratio", "weight_decay"} < set(usual)
    idle = default_space(TrainingArguments(max_steps=5, warmup_steps=2))
    assert not {"num_train_epochs", "warmup_ratio"} & set(idle)


def test_the_command_line_writes_ranges_as_text() -> None:
    kinds = (TextClassificationSettings, TrainingArguments)
    texts = ("lr=1e-5..1e-3:log", "num-train-epochs=1,2,3", "warmup_steps=0..10", "max_length=8..64:log", "weight_decay=0..1", "group_by_length=true,false", "lr_scheduler_type=linear,cosine")  # fmt: skip  # noqa: E501
    assert parse_ranges(texts, kinds) == {
        "lr": Uniform(1e-5, 1e-3, log=True),
        "num_train_epochs": Choice([1, 2, 3]),
        "warmup_steps": IntRange(0, 10),
        "max_length": IntRange(8, 64, log=True),
        "weight_decay": Uniform(0.0, 1.0),
        "group_by_length": Choice([True, False]),
        "lr_scheduler_type": Choice(["linear", "cosine"]),
    }
    with pytest.raises(ConfigError) as told:
        parse_ranges(["lr", "seed=a..b", "warmup_ratio=0..0.1:lin"], kinds)
    assert [line[:14] for line in str(told.value).splitlines()] == ["'lr' is no ran", "`seed`: 'a..b'", "`warmup_ratio`"]  # fmt: skip  # noqa: E501


# What becomes of trials


def test_trials_train_in_processes_and_failures_are_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = small_trainer(
        tmp_path, options={"callbacks": [EndsItself(2e-3)]}, max_steps=2, eval_steps=1
    )
    before = weights_of(trainer.model)
    rates = iter([1e-3, 2e-3])
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": next(rates), "max_length": trial.suggest_int("m", 8, 8)},
        n_trials=2,
        metric="accuracy",
    )
    failures = [record.message for record in caplog.records if "failed" in record.message]
    assert failures == ["Trial 1 failed: The process was ended by SIGKILL; perhaps memory ran out."]
    assert (best.number, best.hyperparameters) == (0, {"learning_rate": 1e-3, "max_length": 8})
    found = Trainer.from_pretrained(best.folder)
    assert found.task.settings.max_length == 8
    assert found.evaluate(tiny_rows(16))["eval_accuracy"] == best.value
    after = weights_of(trainer.model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert sorted(place.name for place in (tmp_path / "trials").iterdir()) == [
        *("0", "0.log", "1.log", "start")
    ]
    page = (tmp_path / "search.html").read_text(encoding="utf-8")
    assert "SIGKILL" in page
    assert "<svg" in page


def words_of_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> list[Message]:
    """Return what a trial that is told to stop says, run in this process."""
    launcher = Launcher(ends_with(0.5))
    trainer = small_trainer(tmp_path, max_steps=2, eval_steps=1)
    search(trainer, RATES, SearchOptions(n_trials=1), launch=launcher)
    job = launcher.launched[0].job
    ours, theirs = multiprocessing.Pipe()
    ours.send(True)
    monkeypatch.setattr(abrazo.training.trial, "_write_output_to", lambda file: None)
    before = signal.getsignal(signal.SIGINT)
    try:
        run_trial(dataclasses.replace(job, args=job.args.replace(**changes), num_threads=1), theirs)
    finally:
        signal.signal(signal.SIGINT, before)
    words = []
    while ours.poll():
        words.append(ours.recv())
    return words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 1e25}, "NaN"),
        ({"device": "cuda:99"}, "cuda:99"),
    ],
)
def test_a_trial_tells_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    began, failed = words_of_a_trial(tmp_path, monkeypatch, **changes)
    assert began == Began()
    assert isinstance(failed, Failed)
    assert said in failed.reason


def test_a_trial_stops_after_the_evaluation_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, evaluated, pruned = words_of_a_trial(tmp_path, monkeypatch)
    assert (began, pruned) == (Began(), Pruned())
    assert isinstance(evaluated, Evaluated)


def test_ctrl_c_ends_the_trials_and_the_next_search_runs_them_again(tmp_path: Path) -> None:
    class Interrupted(TrialProcess):
        def message(self) -> Message | None:
            if super().message() is None:
                return None
            raise KeyboardInterrupt

    running: list[TrialProcess] = []

    def launch(job: Job) -> TrialProcess:
        running.append(Interrupted(job))
        return running[-1]

    with pytest.raises(KeyboardInterrupt):
        search(small_trainer(tmp_path), RATES, SearchOptions(n_trials=2), launch=launch)
    with pytest.raises(ValueError, match="process object is closed"):
        running[0].process.is_alive()  # closed, which only a process that has ended can be
    best, launcher = scripted(tmp_path, ends_with(0.5, 0.4), n_trials=2, storage=None)
    assert launcher.rates[0] == running[0].job.args.learning_rate
    assert len(set(launcher.rates)) == 2
    assert best.value == 0.4


def test_a_trial_that_falls_behind_is_stopped(tmp_path: Path) -> None:
    def script(job: Job) -> list[Message]:
        value = float(job.args.run_name == "trial 5")
        return [Began(), Evaluated(value), Evaluated(value), Completed(value, {})]

    _, launcher = scripted(tmp_path / "median", script, n_trials=6)
    assert [trial.words for trial in launcher.launched] == [[]] * 6
    page = (tmp_path / "median" / "search.html").read_text(encoding="utf-8")
    assert "1 pruned" in page
    _, launcher = scripted(tmp_path / "none", script, n_trials=6, pruner="none")
    page = (tmp_path / "none" / "search.html").read_text(encoding="utf-8")
    assert "pruned" not in page
    with pytest.raises(ConfigError, match="Did you mean `median`"):
        scripted(tmp_path, script, pruner="mediun")


def test_the_metric_says_which_figures_are_best(tmp_path: Path) -> None:
    values = (0.5, 0.9, 0.1)
    for number, (options, best) in enumerate(
        [
            ({"metric": "accuracy"}, 0.9),
            ({"metric": "eval_loss"}, 0.1),
            ({}, 0.1),
            ({"direction": "maximize"}, 0.9),
        ]
    ):
        found, launcher = scripted(
            tmp_path / str(number), ends_with(*values), n_trials=3, **options
        )
        assert found.value == best
        assert launcher.launched[0].job.args.greater_is_better is (best == 0.9)
    with pytest.raises(ConfigError, match="Did you mean `accuracy`"):
        scripted(tmp_path, ends_with(), metric="acuracy")


def test_only_the_best_runs_are_kept(tmp_path: Path) -> None:
    best, _ = scripted(tmp_path, ends_with(0.5, 0.2, 0.9, 0.3), n_trials=4, keep=2)
    folders = [place.name for place in (tmp_path / "trials").iterdir() if place.name.isdigit()]
    assert sorted(folders) == ["1", "3"]
    assert best.folder == tmp_path / "trials" / "1"


def test_a_search_without_a_figure_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No trial came to a figure:\n  out of luck"):
        scripted(tmp_path, lambda job: [Began(), Failed("out of luck")], n_trials=2)


def test_processes_that_cannot_begin_end_the_search(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="if __name__ =="):
        scripted(tmp_path, lambda job: [Failed("exit code 1")], n_trials=9)


def test_wrong_values_fail_their_trial_alone(tmp_path: Path) -> None:
    rates = iter([-1.0, 1e-3])
    best, launcher = scripted(
        tmp_path,
        ends_with(0.3),
        lambda trial: {"learning_rate": next(rates)},
        n_trials=2,
    )
    assert best.hyperparameters == {"learning_rate": 1e-3}
    assert len(launcher.launched) == 1


def test_trials_at_a_time_share_the_threads(tmp_path: Path) -> None:
    torch.set_num_threads(4)
    _, launcher = scripted(tmp_path, ends_with(*range(1, 6)), n_trials=5, n_jobs=2)
    assert [trial.job.num_threads for trial in launcher.launched] == [2] * 5


# Going on


def test_the_same_search_goes_on_where_it_ended(tmp_path: Path) -> None:
    first, one = scripted(tmp_path, ends_with(0.5, 0.2), n_trials=2, storage=None)
    again, two = scripted(tmp_path, ends_with(0.4, 0.3), n_trials=4, storage=None)
    assert [len(one.launched), len(two.launched)] == [2, 2]
    assert len({*one.rates, *two.rates}) == 4
    assert again == first
    _, none = scripted(tmp_path, ends_with(), n_trials=4, storage=None)
    assert none.launched == []


def test_failed_trials_count_and_are_not_run_again(tmp_path: Path) -> None:
    ends = iter([Failed("no"), Completed(0.5, {})])
    scripted(tmp_path, lambda job: [Began(), next(ends)], n_trials=2, storage=None)
    _, launcher = scripted(tmp_path, ends_with(), n_trials=2, storage=None)
    assert launcher.launched == []


def test_another_search_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    scripted(tmp_path, ends_with(0.5), n_trials=1, storage=None)
    with pytest.raises(TrainingError, match=r"space was learning_rate=.* and is learning_rate="):
        scripted(
            tmp_path, ends_with(0.5), {"learning_rate": Uniform(0.1, 1)}, n_trials=2, storage=None
        )
    other = small_trainer(tmp_path, options={"train_dataset": tiny_rows(30)})
    with pytest.raises(TrainingError, match="data was"):
        search(other, RATES, SearchOptions(n_trials=2), launch=Launcher(ends_with(1.0)))
    anew = small_trainer(tmp_path, overwrite_output_dir=True, weight_decay=0.1)
    launcher = Launcher(ends_with(0.7))
    assert search(anew, RATES, SearchOptions(n_trials=1), launch=launcher).value == 0.7


def test_studies_can_be_kept_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "all.db"
    for name in ("one", "two"):
        scripted(tmp_path / name, ends_with(0.5), n_trials=1, storage=file, study_name=name)
    with sqlite3.connect(file) as database:
        names = database.execute("select study_name from studies").fetchall()
    database.close()
    assert names == [("one",), ("two",)]
    with pytest.raises(ConfigError, match="cannot be read"):
        scripted(tmp_path, ends_with(0.5), storage="nothing://nowhere")


def test_no_trial_starts_after_the_time_is_up(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No trial came"):
        scripted(tmp_path, ends_with(0.5), timeout=1e-9)


# What trials start from


@pytest.mark.parametrize("is_adapted", [False, True])
def test_trials_start_from_the_model_as_it_is(tmp_path: Path, is_adapted: bool) -> None:
    model = small_model(dropout=0.0)
    freeze(model, embeddings=True, blocks=1)
    if is_adapted:
        add_lora(model, rank=2)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(0.1)
    trainer = small_trainer(tmp_path, options={"model": model})
    shared = Ingredients.of(trainer, tmp_path / "start", _default_types(trainer))
    write_start(trainer, shared.start)
    loaded = load_start(shared)
    assert_same_weights(loaded, model)
    assert {n for n, w in loaded.named_parameters() if w.requires_grad} == {
        n for n, w in model.named_parameters() if w.requires_grad
    }


def test_tokenised_rows_are_written_as_they_are_read(tmp_path: Path) -> None:
    rows = [
        {"input_ids": torch.tensor([[2, 5, 3]]), "labels": torch.tensor(number % 2)}
        for number in range(8)
    ]
    trainer = small_trainer(tmp_path, options={"train_dataset": rows, "eval_dataset": rows})
    launcher = Launcher(ends_with(0.5))
    search(trainer, RATES, SearchOptions(n_trials=1), launch=launcher)
    from abrazo.data.dataset import Dataset

    read = Dataset.from_parquet(launcher.launched[0].job.ingredients.start / "train.parquet")
    assert read[1] == {"input_ids": [2, 5, 3], "labels": 1}


def test_what_cannot_be_sent_to_a_process_is_named(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, options={"loss": lambda logits, labels: logits.sum()})
    with pytest.raises(ConfigError, match="`loss` cannot be sent to the processes of trials"):
        search(trainer, RATES)


def test_a_search_needs_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the Trainer an `eval_dataset`"):
        search(small_trainer(tmp_path, options={"eval_dataset": None}))
    with pytest.raises(ConfigError, match="set `eval_strategy`"):
        search(small_trainer(tmp_path, eval_strategy="no"))


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install abrazo\[search\]"):
        small_trainer(tmp_path).hyperparameter_search()


# What is shown


def test_the_report_shows_all_trials_and_escapes_their_words() -> None:
    def trial(number: int, value: float | None, rate: object, **more: Any) -> TrialSummary:
        state = "failed" if value is None else "completed"
        values = {"learning_rate": rate, "seed": number}
        return TrialSummary(
            number=number, state=state, value=value, hyperparameters=values, seconds=61.0, **more
        )

    trials = [trial(0, 0.5, 1e-5), trial(1, 0.75, 1e-3), trial(2, None, 1.0, reason="<b> is bad")]
    page = render_search_report(
        SearchReport(title="a<b", model="M", metric="accuracy", direction="max", trials=trials)
    )
    assert page.count("<svg") == 3
    assert "&lt;b&gt; is bad" in page
    assert "<b>" not in page
    assert re.findall(r"<th>(\d)</th>", page) == ["1", "0", "2"]
    assert "best accuracy, trial 1" in page
    empty = SearchReport(title="t", model="M", metric="loss", direction="min", trials=[])
    assert "<svg" not in render_search_report(empty)


def test_the_command_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model().save_pretrained(tmp_path / "model")
    rows = tmp_path / "rows.csv"
    lines = [f"{row['text']},{row['label']}\n" for row in tiny_rows(30)]
    rows.write_text("text,label\n" + "".join(lines), encoding="utf-8")
    launcher = Launcher(ends_with(0.25, 0.75))
    monkeypatch.setattr(abrazo.cli.search, "search", functools.partial(search, launch=launcher))
    out = tmp_path / "out"
    words = f"search intent --model {tmp_path / 'model'} --train {rows} --eval {rows} -o {out}"
    more = "--trials 2 --space learning_rate=1e-5..1e-3:log --space epochs=1,2 --metric accuracy"
    assert main([*words.split(), *more.split()]) == 0
    shown = capsys.readouterr().out
    assert "The best is trial 1, with 0.7500:\n  --learning-rate " in shown
    assert "--num-train-epochs" in shown
    assert {trial.job.args.num_train_epochs for trial in launcher.launched} <= {1, 2}
    assert main([*words.split(), "--space", "learnin_rate=1..2"]) == 2
    assert "Did you mean `--learning-rate`?" in capsys.readouterr().err
