"""Prediction: sentences a second through a MiniLM classifier, and the memory it takes.

    python benchmarks/predict_sst2.py --data DATA/sst2_en --model MODEL

MODEL is a folder of a BERT-type sequence classifier that both libraries load. The rival is
`transformers`: its pipeline as documented (fp32, a list of texts, in batches of 32 and one by one),
and its model in bf16 on batches sorted by length, which is its best setting on a CPU.
"""

import argparse
import time

from harness import read_jsonl, run


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    from abrazo import pipeline

    texts = _texts(options)
    classify = pipeline("text-classification", options.model, precision=options.precision)
    classify(texts[:64])
    started = time.perf_counter()
    answers = classify(texts)
    return _figures(options, started, [answer["label"] for answer in answers])


def _transformers_pipeline(options: argparse.Namespace, batch_size: int) -> dict[str, float]:
    from transformers import pipeline

    texts = _texts(options)
    classify = pipeline("text-classification", options.model, device="cpu")
    classify(texts[:64], batch_size=batch_size)
    started = time.perf_counter()
    answers = classify(texts, batch_size=batch_size)
    return _figures(options, started, [answer["label"] for answer in answers])


def transformers_pipeline(options: argparse.Namespace) -> dict[str, float]:
    return _transformers_pipeline(options, 32)


def transformers_one_by_one(options: argparse.Namespace) -> dict[str, float]:
    return _transformers_pipeline(options, 1)


def transformers_best(options: argparse.Namespace) -> dict[str, float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = _texts(options)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.bfloat16)
    model.eval()

    def predict(texts: list[str]) -> list[str]:
        encoded = tokenizer(texts)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        labels = [""] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), 64):
                rows = order[start : start + 64]
                batch = tokenizer.pad(
                    {"input_ids": [encoded[i] for i in rows]}, return_tensors="pt"
                )
                best = model(**batch).logits.argmax(-1).tolist()
                for i, number in zip(rows, best, strict=True):
                    labels[i] = model.config.id2label[number]
        return labels

    predict(texts[:64])
    started = time.perf_counter()
    labels = predict(texts)
    return _figures(options, started, labels)


def _texts(options: argparse.Namespace) -> list[str]:
    return [row["text"] for row in read_jsonl(f"{options.data}/train.jsonl", options.rows)]


def _figures(options: argparse.Namespace, started: float, labels: list[str]) -> dict[str, float]:
    seconds = time.perf_counter() - started
    rows = read_jsonl(f"{options.data}/train.jsonl", options.rows)
    right = sum(label == row["label"] for label, row in zip(labels, rows, strict=True))
    return {"rows_per_second": len(rows) / seconds, "agreement": right / len(rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--precision", default="auto")
    run(
        {
            "abrazo": abrazo,
            "transformers pipeline, 1": transformers_one_by_one,
            "transformers pipeline, 32": transformers_pipeline,
            "transformers bf16 sorted": transformers_best,
        },
        parser,
        figure="rows_per_second",
    )
