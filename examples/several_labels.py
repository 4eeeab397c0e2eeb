"""Give each text all the labels that fit it: the label of a row is a list.

Run: python examples/several_labels.py [model] [folder] [epochs]
"""

import sys

from abrazo import Dataset, fit, load_dataset, pipeline


def with_topics(rows: Dataset) -> Dataset:
    """Label messages with what they are about and what they name."""
    return rows.select_columns(["text", "intent", "entities"]).map(
        lambda row: {"labels": sorted({row["intent"], *(s["label"] for s in row["entities"])})}
    )


def main(model: str = "minilm", folder: str = "topics", epochs: str = "8") -> None:
    data = load_dataset("abrazo/starter", language="en").apply(with_topics)
    result = fit(
        "text-classification",
        data["train"],
        model=model,
        eval_data=data["validation"],
        output_dir=folder,
        num_train_epochs=float(epochs),
        learning_rate=3e-4,
    )
    print({name: round(value, 3) for name, value in result.metrics.items() if "f1" in name})
    for text in data["test"]["text"].to_list()[:3]:
        print(text, pipeline("text-classification", folder)(text))


if __name__ == "__main__":
    main(*sys.argv[1:])
