"""Call task models on raw texts: outputs that are computed when read, and that are data sets too.

Run: python examples/raw_texts.py [model] [output folder]
"""

import sys

import torch

import abrazo as az

LABELS = ["negative", "neutral", "positive"]


def main(model: str = "minilm", output: str = "raw-texts") -> None:
    data = az.load_dataset("abrazo/starter", language="en")
    train, dev = data["train"], data["validation"]
    classifier = az.BertForSequenceClassification.from_pretrained(model, labels=LABELS)

    few = classifier(dev["text"][:8], labels=dev["sentiment"][:8])
    few.loss.backward()  # computed here, for a loop of one's own
    print("logits", tuple(few.logits.shape), "tokens", few[0]["input_ids"][:6].tolist())

    rows = classifier(train["text"], labels=train["sentiment"])  # computes nothing
    args = az.TrainingArguments(output_dir=output, num_train_epochs=1, learning_rate=2e-4)
    az.Trainer(classifier, args, train_dataset=rows).train()
    with torch.no_grad():
        best = classifier(["Thank you, that was quick!", "Still broken."]).logits.argmax(-1)
    print("answers", [LABELS[number] for number in best])

    reader = az.BertForQuestionAnswering.from_pretrained(model)
    start_logits, end_logits = reader("Anna lives in Paris.", "Where does Anna live?")
    print("most likely start and end", int(start_logits.argmax()), int(end_logits.argmax()))
    print("loss", float(reader("Anna lives in Paris.", "Where?", "in Paris").loss.detach()))


if __name__ == "__main__":
    main(*sys.argv[1:])
