"""Train with another loss: a named one, a function, or a method of your own output class.

Run: python examples/own_loss.py [model] [output folder]
"""

import sys

import torch.nn.functional as F
from torch import Tensor

import abrazo as az


def smooth(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=0.05)


class MarginOutput(az.SequenceClassifierOutput):
    """An output whose loss is the margin between the classes."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Return the mean over the rows."""
        return F.multi_margin_loss(logits, labels)


def main(model: str = "minilm", output: str = "own-loss") -> None:
    data = az.load_dataset("abrazo/starter", language="en")
    data = data.apply(lambda rows: rows.select_columns(["text", "sentiment"]))
    # a name may also be "focal", "label_smoothing" or "r_drop"
    for kind, loss in (("loss", "weighted"), ("loss", smooth), ("output_class", MarginOutput)):
        bert = az.BertForSequenceClassification.from_pretrained(model, num_labels=3)
        args = az.TrainingArguments(
            output_dir=output, num_train_epochs=1, overwrite_output_dir=True
        )
        trainer = az.Trainer(bert, args, data["train"], data["validation"], **{kind: loss})
        print(kind, loss, trainer.train().training_loss, trainer.evaluate()["eval_accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
