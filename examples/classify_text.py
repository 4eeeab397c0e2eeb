"""Load a pretrained BERT, look at it, change its configuration, and fine-tune it on sentiment.

Run: python examples/classify_text.py [model] [output folder] [epochs]
"""

import sys

from abrazo import (
    BertForSequenceClassification,
    BertModel,
    Trainer,
    TrainingArguments,
    load_dataset,
    pipeline,
)


def main(model: str = "minilm", output: str = "sentiment", epochs: str = "3") -> None:
    bare = BertModel.from_pretrained(model)
    print(bare.config)  # every field with its value
    data = load_dataset("abrazo/starter", language="en")
    data = data.apply(lambda rows: rows.select_columns(["text", "sentiment"]))
    classifier = BertForSequenceClassification.from_pretrained(
        model, num_labels=3, hidden_dropout_prob=0.2
    )
    args = TrainingArguments(output_dir=output, num_train_epochs=float(epochs), learning_rate=2e-4)
    trainer = Trainer(
        model=classifier,
        args=args,
        train_dataset=data["train"],  # raw texts: the trainer encodes them
        eval_dataset=data["validation"],
    )
    trainer.train()
    print({name: round(value, 3) for name, value in trainer.evaluate(data["test"]).items()})
    classify = pipeline("sentiment-analysis", output)
    print(classify(["Thank you, that was quick!", "Still no answer after three weeks."]))


if __name__ == "__main__":
    main(*sys.argv[1:])
