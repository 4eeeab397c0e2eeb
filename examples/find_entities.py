"""Learn to find names in texts, then read the spans with their places.

Run: python examples/find_entities.py [model] [folder] [epochs] [en|zh]
"""

import sys

import torch

from abrazo import fit, load_dataset, pipeline


def main(model: str = "minilm", folder: str = "names", epochs: str = "8", lang: str = "en") -> None:
    data = load_dataset("abrazo/starter", language=lang)
    result = fit(
        "token-classification",
        data["train"],  # `entities` holds spans; BIO tags of words or characters do as well
        model=model,
        eval_data=data["validation"],
        text_column="text",
        label_column="entities",
        output_dir=folder,
        num_train_epochs=float(epochs),
        learning_rate=2e-4,
    )
    print("F1", round(result.metrics["eval_f1"], 3))
    text = data["test"][0]["text"]
    for span in pipeline("ner", folder)(text):
        print(span["label"], span["start"], span["end"], span["text"], round(span["score"], 3))

    tagger = result.trainer.model
    ids = tagger.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        best = tagger(ids).logits.argmax(-1)[0]
    labels = [tagger.config.id2label[int(number)] for number in best]
    print(tagger.tokenizer.decode(ids[0], pieces=labels))


if __name__ == "__main__":
    main(*sys.argv[1:])
