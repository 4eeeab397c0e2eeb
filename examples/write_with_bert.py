"""Let BERT write: by filling masks as it comes, and from left to right once it has learned to.

Run: python examples/write_with_bert.py [model] [folder] [epochs]
"""

import sys

from abrazo import BertLM, PretrainedModel, fit, load_dataset


def write(model: PretrainedModel, beginning: str) -> None:
    input_ids = model.tokenizer(beginning, return_tensors="pt")["input_ids"]
    for row in model.generate(input_ids, max_length=20, num_return_sequences=1):
        text = model.tokenizer.decode(row, skip_special_tokens=True)
        print(f"{type(model).__name__}: {text}")


def main(model: str = "bert-base-uncased", folder: str = "writer", epochs: str = "3") -> None:
    beginning = "I would like to"
    write(BertLM.from_pretrained(model), beginning)  # guesses masked words alone: fills masks

    texts = load_dataset("abrazo/starter", language="en")["train"]
    result = fit(
        "text-generation",
        texts,
        model=model,
        output_dir=folder,
        num_train_epochs=float(epochs),
        text_column="text",
    )
    print(f"perplexity {result.metrics['eval_perplexity']:.1f}")
    write(BertLM.from_pretrained(result.path), beginning)  # goes on word by word


if __name__ == "__main__":
    main(*sys.argv[1:])
