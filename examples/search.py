"""Search for the hyper-parameters with which a classifier of sentiment comes out best.

Run: python examples/search.py [model] [output folder] [trials]
"""

import sys

from abrazo import Choice, Trainer, TrainingArguments, Uniform, load_dataset, load_model


def main(model: str = "minilm", output: str = "search-results", trials: str = "6") -> None:
    data = load_dataset("abrazo/starter", language="en")
    rows = data.apply(lambda split: split.select_columns(["text", "sentiment"]))
    labels = sorted(set(rows["train"]["sentiment"].to_list()))
    trainer = Trainer(
        load_model(model, "sequence_classification", labels=labels),
        TrainingArguments(output_dir=output, metric_for_best_model="accuracy"),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
    )
    best = trainer.hyperparameter_search(
        {
            "learning_rate": Uniform(2e-5, 1e-3, log=True),
            "num_train_epochs": Choice([1, 2]),
            "warmup_ratio": Uniform(0.0, 0.2),
        },
        n_trials=int(trials),  # in all: the same call goes on where it was broken off
    )
    print(best)
    print(Trainer.from_pretrained(best.folder).evaluate(rows["test"]))


if __name__ == "__main__":  # trials run in processes of their own, which import this file
    main(*sys.argv[1:])
