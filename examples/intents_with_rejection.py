"""Train intents, make their scores true, and give no label to what fits none.

Run: python examples/intents_with_rejection.py [train.csv] [model] [folder]

The file has the columns `text` and `intent`; without one, the starter data is used.
"""

import sys

from abrazo import calibrate, fit, load_dataset, pipeline

STRANGE = ["The moon is made of green cheese.", "今天天气真好。", "asdf qwer"]


def main(path: str = "", model: str = "minilm", folder: str = "intents", epochs: str = "3") -> None:
    data = load_dataset(path) if path else load_dataset("abrazo/starter")["train"]
    data = data.select_columns(["text", "intent"])
    parts = data.train_test_split(test_size=0.4, seed=1)
    checked = parts["test"].train_test_split(test_size=0.5, seed=1)
    result = fit(
        "intent",
        parts["train"],
        model=model,
        eval_data=checked["test"],
        output_dir=f"{folder}-run",
        num_train_epochs=float(epochs),
    )
    found = calibrate(result.trainer, checked["train"], out_of_scope=STRANGE[:2])
    print(f"Calibration error {found.error_before:.3f}, then {found.error_after:.3f}.")
    print(f"{found.coverage:.0%} are answered, {found.precision:.0%} of the answers are right.")
    result.trainer.save_model(folder)  # with temperature and threshold
    classify = pipeline("intent", folder)
    for text in [checked["test"][0]["text"], STRANGE[2]]:
        print(text, classify(text))


if __name__ == "__main__":
    main(*sys.argv[1:])
