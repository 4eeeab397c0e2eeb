"""Train on your own `torch` data set, which gives raw rows or tokens.

Run: python examples/own_dataset.py [model] [output folder]
"""

import sys
from typing import Any

from torch.utils.data import Dataset

from abrazo import BertForSequenceClassification, Trainer, TrainingArguments, load_dataset

LABELS = ["negative", "neutral", "positive"]


class Messages(Dataset[dict[str, Any]]):
    """Messages with their sentiment, as texts or, with a tokenizer, as tokens."""

    def __init__(self, split: str, tokenizer: Any = None) -> None:
        self.rows = load_dataset("abrazo/starter", language="en", split=split)
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.rows[number]
        if self.tokenizer is None:
            return {"text": row["text"], "label": row["sentiment"]}
        tokens = self.tokenizer(row["text"], truncation=True, max_length=64, return_tensors="pt")
        return {**tokens, "labels": LABELS.index(row["sentiment"])}


def main(model: str = "minilm", output: str = "own-data") -> None:
    for kind in ("texts", "tokens"):
        classifier = BertForSequenceClassification.from_pretrained(model, labels=LABELS)
        tokenizer = classifier.tokenizer if kind == "tokens" else None
        args = TrainingArguments(output_dir=f"{output}/{kind}", num_train_epochs=1)
        trainer = Trainer(classifier, args, Messages("train", tokenizer))
        trainer.train()
        print(kind, trainer.evaluate(Messages("test", tokenizer))["eval_accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
