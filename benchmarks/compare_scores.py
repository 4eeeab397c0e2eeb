"""Scores: what fine-tuning reaches with the same weights, rows, epochs, batch and learning rate.

    python benchmarks/compare_scores.py --task ner --data DATA/uner_ewt_en --rounds 1 \
        --num-epochs 5 --learning-rate 1e-4 --seeds 42 43 44
    python benchmarks/compare_scores.py --task qa --data DATA/squad_dev_en --rounds 1 \
        --num-epochs 3 --learning-rate 1e-4 --seeds 42

The rival is the `Trainer` of `transformers` with the steps that its documentation shows for token
classification and question answering: a word's label on its first piece and the arg max as its tag;
windows with the places of answers, the 20 best starts and ends, answers of 30 tokens at most. Both
are bf16 where that is fast, warm up over `--warmup-ratio` of the steps and evaluate each epoch, and
both are counted by the same metrics: spans whole and of the right type, F1 and exact match of
answers. `last` is the score after the last epoch, `best` that of the best one, both means over the
seeds; `each` seed's `last` follows.
"""

import argparse
import collections
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import read_jsonl, run

from abrazo.hub.resolve import find_model
from abrazo.metrics.answers import AnswerMetrics
from abrazo.metrics.spans import SpanMetrics

TASKS = {"ner": "token-classification", "qa": "question-answering"}
IGNORED = -100
BEST_PLACES = 20
LONGEST_ANSWER = 30

Rows = list[dict[str, Any]]
Predict = Callable[[Any], dict[str, float]]


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    from abrazo import fit

    def scores(seed: int) -> list[float]:
        length = {"max_length": options.max_length} if options.task == "qa" else {}
        stride = {"stride": options.stride} if options.task == "qa" else {}
        train, validation = _rows(options)
        with tempfile.TemporaryDirectory() as folder:
            result = fit(
                TASKS[options.task],
                train,
                eval_data=validation,
                model=options.model,
                output_dir=folder,
                num_train_epochs=options.num_epochs,
                per_device_train_batch_size=options.batch_size,
                learning_rate=options.learning_rate,
                warmup_ratio=options.warmup_ratio,
                seed=seed,
                save_total_limit=1,
                disable_tqdm=True,
                **length,
                **stride,
            )
            return _by_epoch(result.trainer.state.log_history)

    return _summary(scores, options.seeds)


def transformers(options: argparse.Namespace) -> dict[str, float]:
    recipe = {"ner": _transformers_ner, "qa": _transformers_qa}[options.task]
    return _summary(lambda seed: recipe(options, seed), options.seeds)


def _transformers_ner(options: argparse.Namespace, seed: int) -> list[float]:
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        set_seed,
    )

    set_seed(seed)
    train, validation = _rows(options)
    folder = str(find_model(options.model))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = sorted({tag for row in train for tag in row["ner_tags"]})

    def encoded(rows: Rows) -> Rows:
        features = []
        for row in rows:
            found = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
            words = found.word_ids()
            found["labels"] = [
                names.index(row["ner_tags"][word])
                if word is not None and word != words[place - 1]
                else IGNORED
                for place, word in enumerate(words)
            ]
            features.append(dict(found))
        return features

    def figures(predicted: Any) -> dict[str, float]:
        metrics = SpanMetrics(names)
        metrics.update(predicted.predictions, predicted.label_ids)
        return {"f1": metrics.compute()["f1"]}

    model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(names))
    collator = DataCollatorForTokenClassification(tokenizer)
    return _train(options, seed, model, collator, encoded(train), encoded(validation), figures)


def _transformers_qa(options: argparse.Namespace, seed: int) -> list[float]:
    from transformers import (
        AutoModelForQuestionAnswering,
        AutoTokenizer,
        DataCollatorWithPadding,
        set_seed,
    )

    set_seed(seed)
    train, validation = _rows(options)
    folder = str(find_model(options.model))
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def windows(rows: Rows) -> Any:
        return tokenizer(
            [row["question"].lstrip() for row in rows],
            [row["context"] for row in rows],
            truncation="only_second",
            max_length=options.max_length,
            stride=options.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )

    def features(found: Any) -> Rows:
        kept = ("input_ids", "token_type_ids", "attention_mask")
        return [{key: found[key][i] for key in kept} for i in range(len(found["input_ids"]))]

    learned = windows(train)
    train_set = features(learned)
    for place, feature in enumerate(train_set):
        answers = train[learned["overflow_to_sample_mapping"][place]]["answers"]
        first = answers["answer_start"][0]
        span = _token_span(
            learned["offset_mapping"][place],
            learned.sequence_ids(place),
            *(first, first + len(answers["text"][0])),
        )
        feature["start_positions"], feature["end_positions"] = span
    shown = windows(validation)

    def figures(predicted: Any) -> dict[str, float]:
        starts, ends = predicted.predictions
        metrics = AnswerMetrics()
        for row, answer in enumerate(_best_answers(shown, validation, starts, ends)):
            metrics.update([answer], [validation[row]["answers"]["text"]])
        return metrics.compute()

    eval_set = [
        {**feature, "start_positions": 0, "end_positions": 0} for feature in features(shown)
    ]
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    collator = DataCollatorWithPadding(tokenizer)
    return _train(options, seed, model, collator, train_set, eval_set, figures)


def _token_span(
    offsets: list[tuple[int, int]], sides: list[int | None], start: int, end: int
) -> tuple[int, int]:
    """Return the first and last token of an answer; (0, 0) where the window lacks a part of it."""
    first = sides.index(1)
    last = len(sides) - 1 - sides[::-1].index(1)
    if offsets[first][0] > start or offsets[last][1] < end:
        return 0, 0
    begin = max(i for i in range(first, last + 1) if offsets[i][0] <= start)
    stop = min(i for i in range(first, last + 1) if offsets[i][1] >= end)
    return begin, stop


def _best_answers(shown: Any, rows: Rows, starts: np.ndarray, ends: np.ndarray) -> list[str]:
    """Return for each row the text whose start and end have the greatest sum of logits."""
    windows_of: dict[int, list[int]] = collections.defaultdict(list)
    for window, row in enumerate(shown["overflow_to_sample_mapping"]):
        windows_of[row].append(window)
    answers = []
    for number, row in enumerate(rows):
        best = (-np.inf, "")
        for window in windows_of[number]:
            offsets, sides = shown["offset_mapping"][window], shown.sequence_ids(window)
            # padding that the collator put behind other windows has no offsets
            first_logits, last_logits = starts[window][: len(sides)], ends[window][: len(sides)]
            for first in np.argsort(-first_logits)[:BEST_PLACES]:
                for last in np.argsort(-last_logits)[:BEST_PLACES]:
                    if sides[first] != 1 or sides[last] != 1:
                        continue
                    if not first <= last < first + LONGEST_ANSWER:
                        continue
                    score = float(first_logits[first] + last_logits[last])
                    if score > best[0]:
                        best = (score, row["context"][offsets[first][0] : offsets[last][1]])
        answers.append(best[1])
    return answers


def _train(
    options: argparse.Namespace,
    seed: int,
    model: Any,
    collator: Any,
    train: Rows,
    validation: Rows,
    figures: Predict,
) -> list[float]:
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=options.num_epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=32,
            learning_rate=options.learning_rate,
            warmup_steps=options.warmup_ratio,
            weight_decay=0.0,
            seed=seed,
            bf16=options.bf16,
            use_cpu=True,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=collator,
            compute_metrics=figures,
        )
        trainer.train()
        return _by_epoch(trainer.state.log_history)


def _by_epoch(log: list[dict[str, Any]]) -> list[float]:
    return [entry["eval_f1"] for entry in log if "eval_f1" in entry]


def _summary(scores: Callable[[int], list[float]], seeds: list[int]) -> dict[str, float]:
    of_seeds = [scores(seed) for seed in seeds]
    last = [each[-1] for each in of_seeds]
    return {
        "last": statistics.mean(last),
        "best": statistics.mean(max(each) for each in of_seeds),
        **{f"seed_{seed}": score for seed, score in zip(seeds, last, strict=True)},
    }


def _rows(options: argparse.Namespace) -> tuple[Rows, Rows]:
    train = read_jsonl(f"{options.data}/train.jsonl", options.rows or None)
    return train, read_jsonl(f"{options.data}/validation.jsonl")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=0, help="of the training set; 0 is all")
    parser.add_argument("--num-epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--warmup-ratio", type=float, default=0.06)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    run({"abrazo": abrazo, "transformers": transformers}, parser, figure="last")
