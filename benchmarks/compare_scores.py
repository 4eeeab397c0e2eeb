"""Scores: what fine-tuning reaches with the same weights, rows, epochs, batch and learning rate.

    python benchmarks/compare_scores.py --task ner --data DATA/uner_ewt_en --rounds 1 \
        --num-epochs 5 --learning-rate 1e-4 --seeds 42 43 44
    python benchmarks/compare_scores.py --task qa --data DATA/squad_dev_en --rounds 1 \
        --num-epochs 3 --learning-rate 1e-4 --seeds 42

The rival is the `Trainer` of `transformers` with the steps that its documentation shows for token
classification and question answering, see `stock.py`. Both are bf16 where
that is fast, warm up over `--warmup-ratio` of the steps and evaluate each epoch, and both are
counted by the same metrics: spans whole and of the right type, F1 and exact match of answers.
`last` is the score after the last epoch, `best` that of the best one, both means over the seeds;
`each` seed's `last` follows.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from harness import read_jsonl, run
from stock import Rows, prepare

from abrazo.hub.resolve import find_model

TASKS = {"ner": "token-classification", "qa": "question-answering"}


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
    return _summary(lambda seed: _train(options, seed), options.seeds)


def _train(options: argparse.Namespace, seed: int) -> list[float]:
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(seed)
    train, validation = _rows(options)
    stock = prepare(options, str(find_model(options.model)), train)
    asked = stock.ask(validation)
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
            model=stock.model,
            args=arguments,
            train_dataset=stock.train,
            eval_dataset=asked.features,
            data_collator=stock.collator,
            compute_metrics=asked.figures,
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
