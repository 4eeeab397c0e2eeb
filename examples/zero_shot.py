"""Sort texts by labels that no one trained.

Run: python examples/zero_shot.py [model]

The model makes vectors of sentences, or judges entailment, which is slower and more exact.
"""

import sys

from abrazo import pipeline

TEXTS = ["My card was declined twice.", "包裹还没有到。", "Please cancel my account."]
LABELS = ["payment", "delivery", "leaving"]


def main(model: str = "minilm") -> None:
    sort = pipeline("zero-shot-classification", model)
    for answer in sort(TEXTS, LABELS):
        best = zip(answer["labels"], answer["scores"], strict=True)
        print(answer["sequence"], ", ".join(f"{label} {score:.2f}" for label, score in best))
    answer = sort(TEXTS[0], LABELS, hypothesis_template="This is about {}.", multi_label=True)
    print(answer["labels"][0], f"{answer['scores'][0]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
