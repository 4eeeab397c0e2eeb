"""Training: sentences a second, accuracy and memory of fine-tuning MiniLM.

    python benchmarks/train_sst2.py --data DATA/sst2_en --model minilm --rows 1600

Batch 16, learning rate 5e-5, one epoch, linear decay. The rival is `transformers`: its `Trainer` as
documented (fp32) and in its best setting on a CPU (bf16, grouped by length). `--rows 0` takes the
whole training set; then the accuracy on the validation set tells something.
"""

import argparse
import tempfile
import time

from harness import read_jsonl, run

LABELS = ("negative", "positive")


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    from abrazo import AutoModelForSequenceClassification, Trainer, TrainingArguments

    train, validation = _rows(options)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=f"{folder}/run",
            num_train_epochs=1,
            per_device_train_batch_size=16,
            learning_rate=5e-5,
            seed=options.seed,
            precision=options.precision,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        )
        model = AutoModelForSequenceClassification.from_pretrained(options.model, labels=LABELS)
        trainer = Trainer(model=model, args=arguments, train_dataset=train)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        accuracy = trainer.evaluate(validation)["eval_accuracy"]
    return {"rows_per_second": len(train) / seconds, "accuracy": accuracy}


def _transformers(options: argparse.Namespace, **settings: object) -> dict[str, float]:
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    from abrazo.hub.resolve import find_model

    train, validation = _rows(options)
    folder = str(find_model(options.model))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)

    def encoded(rows: list[dict[str, str]]) -> list[dict[str, object]]:
        ids = tokenizer([row["text"] for row in rows], truncation=True)["input_ids"]
        return [
            {"input_ids": ids[i], "labels": LABELS.index(row["label"])}
            for i, row in enumerate(rows)
        ]

    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=16,
            learning_rate=5e-5,
            seed=options.seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=encoded(train), processing_class=tokenizer
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        logits = torch.from_numpy(trainer.predict(encoded(validation)).predictions)
    right = sum(
        LABELS[number] == row["label"]
        for number, row in zip(logits.argmax(-1).tolist(), validation, strict=True)
    )
    return {"rows_per_second": len(train) / seconds, "accuracy": right / len(validation)}


def transformers_documented(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options)


def transformers_best(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options, bf16=True, train_sampling_strategy="group_by_length")


def _rows(options: argparse.Namespace) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    train = read_jsonl(f"{options.data}/train.jsonl", options.rows or None)
    return train, read_jsonl(f"{options.data}/validation.jsonl")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--precision", default="auto")
    run(
        {
            "abrazo": abrazo,
            "transformers fp32": transformers_documented,
            "transformers bf16 grouped": transformers_best,
        },
        parser,
        figure="rows_per_second",
    )
