"""Train on your own `torch` data set: of raw rows, or of tokens that a collator pads.

Run: python examples/own_dataset.py [model] [output folder]
"""

import sys

from torch.utils.data import Dataset

import abrazo as az


class Complaints(Dataset[dict[str, object]]):
    """Messages, as texts or with a tokenizer as tokens, and whether they are negative."""

    def __init__(self, rows: az.Dataset, tokenizer: az.BertTokenizer | None) -> None:
        self.rows, self.tokenizer = rows, tokenizer

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, object]:
        text, label = self.rows[number]["text"], self.rows[number]["sentiment"]
        encoded = self.tokenizer(text, truncation=True) if self.tokenizer else {"text": text}
        return {**encoded, "label": int(label == "negative")}


def main(model: str = "minilm", output: str = "own-data") -> None:
    data = az.load_dataset("abrazo/starter", language="en")
    for kind, tokenizer in (("texts", None), ("tokens", az.BertTokenizer.from_pretrained(model))):
        bert = az.BertForSequenceClassification.from_pretrained(model, num_labels=2)
        collator = az.DataCollatorWithPadding(tokenizer) if tokenizer else None
        args = az.TrainingArguments(output_dir=f"{output}/{kind}", num_train_epochs=1)
        train, test = (Complaints(data[split], tokenizer) for split in ("train", "test"))
        trainer = az.Trainer(bert, args, train, test, data_collator=collator)
        print(kind, trainer.train().training_loss, trainer.evaluate()["eval_accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
