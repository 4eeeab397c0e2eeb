"""Entities and answers: rows a second in training and in answering, side by side.

    python benchmarks/spans.py --task ner --data DATA/uner_ewt_en --rows 1600
    python benchmarks/spans.py --task ner --data DATA/cluener_zh --model E5-SMALL --rows 1600
    python benchmarks/spans.py --task qa --data DATA/squad_dev_en --rows 400 --asked 400

Training is one epoch without evaluation, batch 16, and ends with the model on the disk; abrazo
cuts texts into tokens while the clock runs, the rival before. Answering goes from texts to spans,
or to answers, with the weights that training left; all that is computed for an answer counts, and
both get the same rows. The rival is `transformers` with the steps that its documentation shows,
see `stock.py`: in fp32 and in the order of the rows, and in its best setting on a CPU, bf16 and
rows of like length together.
"""

import argparse
import tempfile
import time
from typing import Any

from harness import read_jsonl, run
from stock import Rows, Stock, prepare

from abrazo.hub.resolve import find_model

TASKS = {"ner": "token-classification", "qa": "question-answering"}
BATCH = 16
AT_ONCE = 32


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    from abrazo import pipeline
    from abrazo.training.fit import make_trainer

    train, asked = _rows(options)
    lengths = {"max_length": options.max_length, "stride": options.stride}
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            TASKS[options.task],
            train,
            model=options.model,
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            seed=options.seed,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            disable_tqdm=True,
            **(lengths if options.task == "qa" else {}),
        )
        started = time.perf_counter()
        trainer.train()
        trained = time.perf_counter() - started
        answer = pipeline(TASKS[options.task], trainer.model)
        items: list[Any] = [row["tokens"] for row in asked] if options.task == "ner" else asked
        answer(items[:AT_ONCE])
        started = time.perf_counter()
        answers = answer(items)
        answered = time.perf_counter() - started
    assert len(answers) == len(asked)
    return _figures(train, trained, asked, answered)


def _transformers(options: argparse.Namespace, *, is_best: bool) -> dict[str, float]:
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(options.seed)
    train, asked = _rows(options)
    folder = str(find_model(options.model))
    stock = prepare(options, folder, train)
    best = {"bf16": True, "train_sampling_strategy": "group_by_length"} if is_best else {}
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            seed=options.seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **best,
        )
        trainer = Trainer(
            model=stock.model,
            args=arguments,
            train_dataset=stock.train,
            data_collator=stock.collator,
        )
        started = time.perf_counter()
        trainer.train()
        trainer.save_model(output)
        trained = time.perf_counter() - started
    _answer(stock, asked[:AT_ONCE], is_best=is_best)
    started = time.perf_counter()
    answers = _answer(stock, asked, is_best=is_best)
    answered = time.perf_counter() - started
    assert len(answers) == len(asked)
    return _figures(train, trained, asked, answered)


def _answer(stock: Stock, rows: Rows, *, is_best: bool) -> list[Any]:
    import torch

    asked = stock.ask(rows)
    kept = ("input_ids", "token_type_ids", "attention_mask")
    given = [{key: each[key] for key in kept if key in each} for each in asked.features]
    order = list(range(len(given)))
    if is_best:
        order.sort(key=lambda number: len(given[number]["input_ids"]))
    model = stock.model.eval().to(torch.bfloat16 if is_best else torch.float32)
    logits: list[Any] = [None] * len(given)
    with torch.inference_mode():
        for start in range(0, len(order), AT_ONCE):
            numbers = order[start : start + AT_ONCE]
            batch = stock.tokenizer.pad([given[n] for n in numbers], return_tensors="pt")
            found = model(**batch)
            scores = [found[name].float().numpy() for name in found if name.endswith("logits")]
            for number, each in zip(numbers, zip(*scores, strict=True), strict=True):
                logits[number] = each
    columns = list(zip(*logits, strict=True))
    return asked.answers(columns[0] if len(columns) == 1 else columns)


def transformers_documented(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options, is_best=False)


def transformers_best(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options, is_best=True)


def _figures(train: Rows, trained: float, asked: Rows, answered: float) -> dict[str, float]:
    return {
        "trained_per_second": len(train) / trained,
        "answered_per_second": len(asked) / answered,
    }


def _rows(options: argparse.Namespace) -> tuple[Rows, Rows]:
    train = read_jsonl(f"{options.data}/train.jsonl", options.rows or None)
    return train, read_jsonl(f"{options.data}/validation.jsonl", options.asked or None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=1600, help="to learn from; 0 is all")
    parser.add_argument("--asked", type=int, default=1000, help="to answer; 0 is all")
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--seed", type=int, default=42)
    run(
        {
            "abrazo": abrazo,
            "transformers fp32": transformers_documented,
            "transformers bf16 grouped": transformers_best,
        },
        parser,
        figure=["trained_per_second", "answered_per_second"],
    )
