"""Make an encoder write: two copies of it learn to sum texts up in a line.

Run: python examples/summarize.py [encoder] [epochs]
The same on the command line: abrazo train summarization --train train.jsonl --model MODEL
"""

import sys

import abrazo as az


def main(encoder: str = "minilm", epochs: str = "3", output: str = "summarizer") -> None:
    data = az.load_dataset("abrazo/starter", language="en")
    train, dev = data["train"], data["validation"]

    model = az.BertForSeq2SeqLM.from_pretrained(encoder)  # what looks at the source starts new
    args = az.TrainingArguments(
        output_dir=output,
        num_train_epochs=float(epochs),
        learning_rate=2e-4,
        eval_strategy="epoch",
    )
    trainer = az.Trainer(model, args, train, dev, task="summarization")
    trainer.train()
    print("ROUGE-L", round(trainer.evaluate()["eval_rougeL"], 3))

    summarize = az.pipeline("summarization", trainer.model)
    print(summarize(dev["text"][0])["summary_text"])
    long = " ".join(dev["text"][:40])  # longer than the model reads: written piece by piece
    print(len(summarize(long, max_new_tokens=12)["summary_text"].split()), "words for a long text")


if __name__ == "__main__":
    main(*sys.argv[1:])
