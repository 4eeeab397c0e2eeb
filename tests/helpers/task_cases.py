"""Each task in small: thirty-two rows, English and Chinese, that a tiny model learns by heart."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import abrazo as az
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import learn_task
from abrazo.tasks.base import Task
from abrazo.training.trainer import Trainer
from helpers.tiny import CHINESE, WORDS, tiny_folder, tiny_tokenizer
from helpers.training import small_arguments

Rows = list[dict[str, Any]]
NUM_ROWS = 32
NAMES = ("anna", "maria", "tom", "paris", "berlin")


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, its rows, and what learning them by heart comes to."""

    name: str
    """What the test is called."""
    task: str
    """The task's name."""
    rows: Callable[[], Rows]
    """Rows to learn."""
    figure: str
    """The figure that shows it."""
    least: float
    """What it must reach; at most that for errors and losses."""
    ask: Callable[[Mapping[str, Any]], Any]
    """From a row to what a pipeline is asked."""
    epochs: int = 30
    """Passes through the rows, four steps each."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of the task."""
    oracle: str = ""
    """The end of the name of the class of `transformers`, where it has one."""


def _text(number: int, word: str) -> str:
    """Return a text, different for each number, that holds the word."""
    if number % 2:
        return f"{CHINESE[number // 2]}{CHINESE[number // 4 + 9]}很{word}。"
    return f"the {WORDS[number // 2 + 18]} film is {word} ."


def _classes() -> Rows:
    return [
        {"text": _text(n, ("good", "bad", "plot")[n % 3]), "label": ("yes", "no", "so")[n % 3]}
        for n in range(NUM_ROWS)
    ]


def _several() -> Rows:
    marks = ("fine", "dull", "warm")
    rows = []
    for number in range(NUM_ROWS):
        labels = [mark for place, mark in enumerate(marks) if number + 1 >> place & 1]
        rows.append({"text": _text(number, " ".join(labels) or "film"), "label": labels})
    return rows


def _numbers() -> Rows:
    return [{"text": _text(n, WORDS[3 + n % 4]), "label": n % 4 / 4} for n in range(NUM_ROWS)]


def _pairs_with_class() -> Rows:
    return [
        {
            "text": _text(n, NAMES[n % 5]),
            "text_pair": NAMES[(n + n // 5 % 2) % 5],
            "label": n // 5 % 2,
        }
        for n in range(NUM_ROWS)
    ]


def _tagged() -> Rows:
    rows = []
    for number in range(NUM_ROWS):
        if number % 2:
            tokens = [
                *CHINESE[number // 4 : number // 4 + 2],
                *"住在",
                *("北京", "上海")[number // 2 % 2],
            ]
            tags = ["O"] * 4 + ["B-TOWN", "I-TOWN"]
        else:
            name, town = NAMES[number // 2 % 3], NAMES[3 + number // 6 % 2]
            tokens = [name, "lives", "in", town, WORDS[number // 2 + 9], "."]
            tags = ["B-NAME", "O", "O", "B-TOWN", "O", "O"]
        rows.append({"tokens": tokens, "tags": tags})
    return rows


def _questions() -> Rows:
    rows = []
    for number in range(NUM_ROWS):
        if number % 2:
            town = ("北京", "上海")[number // 2 % 2]
            row = {"context": f"{CHINESE[number // 2]}住在{town}工作", "question": "在？"}
        else:
            town = NAMES[3 + number // 2 % 2]
            row = {
                "context": f"{NAMES[number // 2 % 3]} at {WORDS[number // 2 + 9]} in {town} .",
                "question": "where ?",
            }
        answer = {"text": [town], "answer_start": [row["context"].index(town)]}
        rows.append({**row, "answers": answer})
    return rows


def _scores() -> Rows:
    return [
        {
            "text1": _text(n, WORDS[n % 16]),
            "text2": _text(n, WORDS[n % 16]) if n % 2 else _text(31 - n, NAMES[n % 5]),
            "score": float(n % 2),
        }
        for n in range(NUM_ROWS)
    ]


def _texts() -> Rows:
    return [{"text": _text(number, WORDS[2 + number % 4])} for number in range(NUM_ROWS)]


def _sentences() -> Rows:
    rows = []
    for number in range(NUM_ROWS):
        follows = NAMES[number % 5] if number // 5 % 2 else WORDS[number % 9]
        rows.append(
            {
                "text": _text(number, NAMES[number % 5]),
                "text_pair": f"it is {follows} .",
                "next_sentence_label": 1 - number // 5 % 2,
            }
        )
    return rows


def _pair_of(*columns: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: tuple(row[column] for column in columns)


CASES = [
    Case(
        "one class",
        "text-classification",
        _classes,
        "accuracy",
        1.0,
        lambda row: row["text"],
        oracle="ForSequenceClassification",
        epochs=12,
    ),
    Case(
        "several classes",
        "text-classification",
        _several,
        "micro_f1",
        0.99,
        lambda row: row["text"],
        oracle="ForSequenceClassification",
        epochs=20,
    ),
    Case(
        "numbers",
        "text-classification",
        _numbers,
        "mae",
        0.1,
        lambda row: row["text"],
        oracle="ForSequenceClassification",
        epochs=15,
    ),
    Case(
        "pairs",
        "text-classification",
        _pairs_with_class,
        "accuracy",
        1.0,
        _pair_of("text", "text_pair"),
        oracle="ForSequenceClassification",
        epochs=25,
    ),
    Case(
        "tags",
        "token-classification",
        _tagged,
        "f1",
        1.0,
        lambda row: {"tokens": row["tokens"]},
        oracle="ForTokenClassification",
        epochs=12,
    ),
    Case(
        "answers",
        "question-answering",
        _questions,
        "f1",
        0.99,
        _pair_of("question", "context"),
        oracle="ForQuestionAnswering",
        epochs=12,
    ),
    Case(
        "scores",
        "sentence-similarity",
        _scores,
        "spearman",
        0.8,
        _pair_of("text1", "text2"),
        oracle="Model",
        epochs=20,
    ),
    Case(
        "words",
        "fill-mask",
        _texts,
        "perplexity",
        6.0,
        lambda row: row["text"] + " [MASK]",
        oracle="ForMaskedLM",
        epochs=30,
    ),
    Case(
        "words and sentences",
        "pretraining",
        _sentences,
        "next_sentence_accuracy",
        0.9,
        _pair_of("text", "text_pair"),
        oracle="ForPreTraining",
        epochs=40,
    ),
    Case(
        "next sentence",
        "next-sentence-prediction",
        _sentences,
        "accuracy",
        0.95,
        _pair_of("text", "text_pair"),
        oracle="ForNextSentencePrediction",
        epochs=30,
    ),
]
"""What is learned by heart."""


def new_task(case: Case, folder: Path) -> tuple[Task, PretrainedModel]:
    """Return a case's task, and an untrained model with its head."""
    rows = az.Dataset.from_list(case.rows())
    task = learn_task(case.task, rows, dict(case.settings))
    base = tiny_folder(folder / "base", "", max_position_embeddings=64)
    model = task.load_model(base, **task.model_options())
    model.tokenizer = tiny_tokenizer()
    return task, model


def train_by_heart(case: Case, folder: Path) -> Trainer:
    """Train a tiny model on a case's rows."""
    task, model = new_task(case, folder)
    args = small_arguments(
        folder / "run",
        num_train_epochs=case.epochs,
        learning_rate=5e-3,
        lr_scheduler_type="constant",
        save_strategy="no",
        logging_steps=1000,
        max_grad_norm=1.0,
    )
    trainer = Trainer(model, args, case.rows(), task=task)
    trainer.train()
    return trainer
