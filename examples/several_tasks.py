"""Learn intents and names together: two heads on one backbone, trained on the same messages.

Run: python examples/several_tasks.py [model] [folder] [epochs]
"""

import sys

from abrazo import MultiTaskModel, fit, load_dataset, pipeline


def main(model: str = "minilm", folder: str = "messages", epochs: str = "4") -> None:
    data = load_dataset("abrazo/starter", language="en")
    entry = {"train": data["train"], "eval": data["validation"], "text_column": "text"}
    result = fit(
        "multi-task",
        {
            "intent": {**entry, "task": "text-classification", "label_column": "intent"},
            "names": {**entry, "task": "token-classification", "label_column": "entities"},
        },
        model=model,
        output_dir=folder,
        num_train_epochs=float(epochs),
        learning_rate=2e-4,
        # sampling="equal" gives each task as many rows; weights={"names": 0.5} its loss less weight
    )
    for name in ("eval_intent_accuracy", "eval_names_f1"):
        print(name, round(result.metrics[name], 3))
    text = data["test"][0]["text"]
    print(text)
    print(pipeline("intent", folder)(text))
    print(pipeline("ner", folder)(text))
    both = MultiTaskModel.from_pretrained(result.path)
    both.part("intent").save_pretrained(f"{folder}-intent")  # a folder of one task, for any reader


if __name__ == "__main__":
    main(*sys.argv[1:])
