"""Learn whether messages are negative, neutral or positive; say how much, from -1 to 1.

Run: python examples/polarity.py [model] [folder] [epochs] [en|zh]
"""

import sys

from abrazo import fit, load_dataset, pipeline

TEXTS = {
    "en": ["Thank you, that was quick!", "It arrived on Tuesday.", "Broken again, and no reply."],
    "zh": ["太好了，谢谢！", "星期二到的货。", "又坏了，也没人回复。"],
}


def main(
    model: str = "minilm", folder: str = "polarity", epochs: str = "3", language: str = "en"
) -> None:
    data = load_dataset("abrazo/starter", language=language)
    result = fit(
        "sentiment-analysis",
        data["train"],
        model=model,
        eval_data=data["validation"],
        label_column="sentiment",
        output_dir=folder,
        num_train_epochs=float(epochs),
        learning_rate=2e-4,
        loss="weighted",  # rare classes count as much as common ones
    )
    print("accuracy", round(result.metrics["eval_accuracy"], 3))
    classify = pipeline("sentiment-analysis", folder)
    for text, answer in zip(TEXTS[language], classify(TEXTS[language], polarity=True), strict=True):
        print(f"{answer['polarity']:+.2f} {answer['label']}: {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
