"""`abrazo train multi-task`: a plan says what `fit` is told in Python, and the model serves."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from abrazo import DataError, fit
from abrazo.cli import train as train_module
from abrazo.cli.plans import read_plan
from abrazo.data.readers.formats import ReadOptions
from helpers.files import write_lines
from helpers.several import two_task_rows
from helpers.tiny import tiny_folder
from helpers.training import CrashAt, CrashError

SHORT = ("--max-steps", 4, "--disable-tqdm", "--device", "cpu", "--precision", "fp32")
FIRST = {"task": "intent", "train": "data/intents.jsonl", "eval": "data/dev.jsonl"}
SECOND = {"task": "ner", "train": ["data/tags-*.jsonl"], "eval": "data/tags-0.jsonl"}
PLAN: dict[str, Any] = {
    "tasks": {"intent": {**FIRST, "text_column": "remark", "max_length": 20}, "slots": SECOND},
    "sampling": "equal",
    "weights": {"slots": 0.5},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a tiny model without head."""
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "bare", ""))


@pytest.fixture(autouse=True)
def _data(tmp_path: Path) -> None:
    """Write rows of two tasks beside the plans."""
    data, rows = tmp_path / "plans" / "data", two_task_rows(24, 16)
    data.mkdir(parents=True)
    intents = [{"remark": row["text"], "label": row["label"]} for row in rows["intent"]]
    write_lines(data / "intents.jsonl", intents)
    write_lines(data / "dev.jsonl", intents[:8])
    for number in range(2):
        write_lines(data / f"tags-{number}.jsonl", rows["slots"][8 * number : 8 * number + 8])


def written(plan: Any, name: str = "plan.json") -> str:
    """Write a plan and return its path; texts are written as they are."""
    path = Path("plans") / name
    dump = yaml.safe_dump if path.suffix != ".json" else json.dumps
    path.write_text(plan if isinstance(plan, str) else dump(plan), encoding="utf-8")
    return str(path)


def changed(name: str = "intent", **fields: Any) -> dict[str, Any]:
    """Return the plan with fields of a task changed; None leaves a field out."""
    entry = {**PLAN["tasks"].get(name, {}), **fields}
    entry = {field: value for field, value in entry.items() if value is not None}
    return {**PLAN, "tasks": {**PLAN["tasks"], name: entry}}


@pytest.fixture
def trained(run, base) -> str:
    """Train by a plan and return it; the run is in `results`."""
    plan = written(PLAN)
    assert run("train", "multi-task", plan, "--model", base, *SHORT)[0] == 0
    return plan


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_a_plan_trains_what_fit_trains(name, run, base):
    words = ("--model", base, "--output", "by-plan", *SHORT)
    code, out, _ = run("train", "multi-task", written(PLAN, name), *words)
    assert code == 0
    assert "eval intent accuracy" in out
    assert "eval slots f1" in out
    tags = sorted(map(str, Path("plans/data").glob("tags-*.jsonl")))
    rows = [json.loads(line) for path in tags for line in Path(path).read_text().splitlines()]
    fit(
        "multi-task",
        {
            "intent": {
                **FIRST,
                "train": "plans/data/intents.jsonl",
                "eval": "plans/data/dev.jsonl",
                "text_column": "remark",
                "max_length": 20,
            },
            "slots": {"task": "ner", "train": rows, "eval": tags[0]},
        },
        model=base,
        output_dir="by-fit",
        sampling="equal",
        weights={"slots": 0.5},
        max_steps=4,
        device="cpu",
        precision="fp32",
        disable_tqdm=True,
    )
    for file in ("model.safetensors", "abrazo.json"):
        ours, theirs = Path("by-plan/best") / file, Path("by-fit/best") / file
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_run_that_was_broken_off_goes_on(run, base, monkeypatch):
    plan = written(PLAN)
    words = ("train", "multi-task", plan, "--model", base, "--save-steps", 1, *SHORT)
    assert run(*words, "--output", "whole")[0] == 0

    def crashing(*inputs: Any, **options: Any) -> Any:
        return fit(*inputs, **{**options, "callbacks": [CrashAt(3)]})

    with monkeypatch.context() as patched:
        patched.setattr(train_module, "fit", crashing)
        with pytest.raises(CrashError):
            run(*words, "--output", "broken")
    assert not Path("broken/report.html").exists()
    assert run(*words, "--output", "broken", "--resume-from-checkpoint", "true")[0] == 0
    last = "checkpoint-4/model.safetensors"
    assert Path("broken", last).read_bytes() == Path("whole", last).read_bytes()
    other = written({**PLAN, "weights": {"slots": 2}})
    code, _, err = run(*words[:2], other, *words[3:], "--output", "broken")
    assert (code, "the training data is another" in err) == (2, True)


def test_the_model_is_evaluated_by_the_plan(run, trained):
    options = ("--device", "cpu", "--precision", "fp32")
    code, out, _ = run("evaluate", "results", trained, *options, "--json")
    assert code == 0
    figures = json.loads(out)
    log = [json.loads(line) for line in Path("results/log.jsonl").read_text().splitlines()]
    evaluated = [entry for entry in log if "eval_loss" in entry][-1]
    for name in ("loss", "intent_loss", "intent_accuracy", "slots_loss", "slots_f1"):
        assert figures[name] == evaluated[f"eval_{name}"]
    mean = (figures["intent_loss"] + 0.5 * figures["slots_loss"]) / 1.5
    assert figures["loss"] == pytest.approx(mean)
    assert figures["tasks"]["intent"]["details"]["labels"] == ["bad", "good"]
    assert figures["num_rows"] == 16
    for page in ("results/report.html", "evaluation/report.html"):
        assert "intent: plans/data/dev.jsonl, row" in Path(page).read_text(encoding="utf-8")
    code, out, _ = run("evaluate", "results", trained, *options)
    assert code == 0
    assert "\nintent\nclass" in out
    entry = {name: value for name, value in SECOND.items() if name != "train"}
    other = written({"tasks": {"slots": entry}}, "other.json")  # no training rows, one task alone
    figures = json.loads(run("evaluate", "results", other, *options, "--json")[1])
    assert figures["slots_f1"] == evaluated["eval_slots_f1"]


def test_one_of_the_tasks_answers(run, trained):
    code, out, _ = run("predict", "results", "plans/data/dev.jsonl", "--part", "intent")
    assert (code, out.count("predicted_label")) == (0, 8)
    code, _, err = run("predict", "results", "plans/data/dev.jsonl")
    assert (code, "intent, slots. Choose one: `--part 'intent'`" in err) == (2, True)
    code, _, err = run("evaluate", "results", "plans/data/dev.jsonl", "--part", "intent")
    assert (code, "Error" in err) == (0, False)


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (("plans/data/dev.jsonl",), ["a .json, .yaml or .yml file", "name it: `--part intent`"]),
        (
            ("plans/plan.json", "--text-column", "a", "--src-lang", "en", "--num-beams", 2),
            ["`--text-column`", "`--src-lang`", "`--num-beams`", "choose one of the tasks"],
        ),
        (("plans/lacking.json",), ["`tasks.intent.eval` must name files with rows to evaluate on"]),
        (
            ("plans/unlike.json",),
            [
                "`tasks.intnet` is no task of the model, which has `intent`, `slots`. "
                "Did you mean `intent`?",
                "`tasks.slots.task`: The model was trained for 'token-classification'",
            ],
        ),
        (("plans/starter.json",), ["The task `intent`: ", "is not one of the model's labels"]),
    ],
    ids=["rows", "options", "no eval", "another model", "labels of the starter data"],
)
def test_what_cannot_be_evaluated_is_told(words, messages, run, trained):
    written(changed(eval=None), "lacking.json")
    slots = {**SECOND, "task": "intent"}
    written({"tasks": {"intnet": FIRST, "slots": slots}}, "unlike.json")
    starter = {"task": "intent", "train": "abrazo/starter", "text_column": "text"}
    written({"tasks": {"intent": {**starter, "label_column": "intent"}}}, "starter.json")
    code, out, err = run("evaluate", "results", *words)
    assert (code, out) == (2, "")
    for message in messages:
        assert message in err


def test_all_mistakes_of_a_plan_are_told_at_once(run):
    plan = {
        "tasks": {
            "intent": {**FIRST, "train": "data/intent.jsonl", "txt_column": "a", "weight": 2},
            "slots": {"task": "nerr", "train": "none/*.csv", "eval": 7},
            "types": {**FIRST, "label_column": 3},
            "titles": {**FIRST, "task": "summarization"},
            "likeness": {**FIRST, "task": "sentence-similarity"},
            "own": {**FIRST, "task": "mine.py:Mine"},
            "nothing": {"eval": "data/dev.jsonl"},
            "no name": FIRST,
            "rows": "rows.csv",
        },
        "sampeling": "equal",
        "sampling": "most",
        "weights": {"intent": 0, "other": 1},
    }
    code, out, err = run("train", "multi-task", written(plan), "--model", "nowhere")
    assert (code, out) == (2, "")
    first, *lines = err.splitlines()
    assert first == "Error: The plan `plans/plan.json` cannot be used:"
    expected = [
        "`sampeling` is no field of a plan, which has `tasks`, `sampling`, `weights`. "
        "Did you mean `sampling`?",
        "`tasks.intent.train`: The file `plans/data/intent.jsonl` does not exist. "
        "Did you mean `plans/data/intents.jsonl`?",
        "`tasks.intent.txt_column` is no field of 'text-classification'. "
        "Did you mean `tasks.intent.text_column`?",
        "`tasks.intent.weight` is no field of 'text-classification'. Weights of tasks stand beside "
        '`tasks`: `"weights": {"NAME": 0.5}`.',
        "`tasks.slots.task` must be one of `text-classification`, `token-classification`, ",
        "`tasks.slots.train`: No file matches the pattern `plans/none/*.csv`.",
        "`tasks.slots.eval` must be a file, a pattern such as `news/*.csv`, or a list of these, "
        "but is 7.",
        "`tasks.types.label_column` must be of type str | None, but is 3.",
        "`tasks.titles.task`: 'summarization' writes texts, which takes a model of its own",
        "`tasks.likeness.task`: 'sentence-similarity' compares whole vectors and has no head",
        "`tasks.own.task` is 'mine.py:Mine', but a plan names no code.",
        "`tasks.nothing.task` must say what the task is",
        "`tasks.nothing.train` must name files with rows to learn from.",
        "The name of a task must be letters, digits, `-` and `_`",
        "`tasks.rows` must be like",
        "`sampling` must be 'size', 'equal' or a share for each task, but is 'most'.",
        "`weights` of `intent` must be above 0, but is 0.",
        "`weights` names the task 'other', for which there are no rows.",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"  {start}")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("plan.json", '{"tasks": ', "cannot be read: Expecting value: line 1"),
        ("plan.yaml", "tasks: [", "cannot be read: while parsing"),
        ("deep.yaml", "[" * 5000, "cannot be read"),
        ("plan.json", "[]", "must be a mapping with `tasks`"),
        ("plan.json", "{}", "`tasks` must name tasks"),
        ("plan.json", '{"tasks": {"a": 1, "a": 2}}', "`a` comes twice in one mapping"),
        ("plan.yml", "tasks: {a: 1, a: 2}", "`a` comes twice in one mapping"),
        ("plan.toml", "", "a .json, .yaml or .yml file, but is `plans/plan.toml`"),
        ("plan.json", '{"tasks": {"a": {}}, "weights": 3}', "a number for each task, but is 3"),
    ],
)
def test_a_file_that_is_no_plan_is_told(name, text, message, run):
    code, _, err = run("train", "multi-task", written(text, name), "--model", "nowhere")
    assert code == 2
    assert message in err


def test_a_plan_that_is_not_there_is_told(run):
    code, _, err = run("train", "multi-task", "plans/nowhere.json", "--model", "nowhere")
    assert (code, "`plans/nowhere.json` does not exist" in err) == (2, True)


def test_mappings_of_yaml_may_share_what_they_have_in_common():
    shared = "tasks:\n  a: &a {task: intent, train: data/dev.jsonl}\n  b: {<<: *a, max_length: 8}\n"
    plan = read_plan(written(shared, "plan.yaml"), "train")
    assert [task.settings for task in plan.tasks.values()] == [{}, {"max_length": 8}]
    assert plan.tasks["b"].train == ["plans/data/dev.jsonl"]


def test_rows_that_do_not_fit_are_told_for_all_tasks():
    plan = changed(text_column="remarks")
    plan["tasks"]["slots"] = {**SECOND, "train": "data/dev.jsonl", "label_column": None}
    with pytest.raises(DataError) as caught:
        read_plan(written(plan), "train").data(ReadOptions())
    first, *lines = str(caught.value).splitlines()
    assert first == "The plan `plans/plan.json` cannot be used:"
    assert lines[0].startswith("  `tasks.intent`: There is no column `remarks` for the text")
    assert lines[1].startswith("  `tasks.slots`: ")


def test_the_starter_data_brings_its_own_rows_to_evaluate_on(tmp_path):
    entry = {"task": "intent", "train": "abrazo/starter", "label_column": "intent"}
    plan = written({"tasks": {"intent": entry}})
    data = read_plan(plan, "train").data(ReadOptions())
    assert sorted(data["intent"]["train"]) == ["test", "train", "validation"]
    said = written({"tasks": {"intent": {**entry, "eval": "abrazo/starter"}}}, "said.json")
    for path in (plan, said):
        held_out = read_plan(path, "eval").tasks["intent"].rows_to_evaluate(ReadOptions())
        assert len(held_out) == len(data["intent"]["train"]["validation"])


def test_a_plan_of_one_task_serves_rows_alone(run, base):
    plan = written({"tasks": {"intent": {**FIRST, "text_column": "remark"}}})
    code, out, _ = run("train", "multi-task", plan, "--model", base, *SHORT)
    assert code == 0
    command = out.splitlines()[-1].strip()
    assert command == "abrazo evaluate results FILE --part intent"
    words = command.replace("FILE", "plans/data/dev.jsonl").split()[1:]
    assert run(*words)[0] == 0
    assert run("evaluate", "results", "plans/data/dev.jsonl")[0] == 0


def test_help_shows_what_a_plan_is(run):
    code, out, err = run("train", "multi-task", "--help")
    assert (code, err) == (0, "")
    assert '{"tasks": {"intent": {"task": "text-classification"' in out
    assert "--learning-rate" in out
    assert "--text-column" not in out
