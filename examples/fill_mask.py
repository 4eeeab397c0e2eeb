"""Fill gaps in English and Chinese sentences with a model that guesses masked words.

Run: python examples/fill_mask.py [model]
"""

import sys

from abrazo import pipeline


def main(model: str = "bert-base-uncased") -> None:
    fill = pipeline("fill-mask", model)
    mask = fill.tokenizer.mask_token
    for text in (f"Paris is the {mask} of France.", f"I {mask} this {mask} very much."):
        answers = fill(text, top_k=3)
        for number, candidates in enumerate(answers if text.count(mask) > 1 else [answers]):
            shown = ", ".join(f"{c['token_str']} ({c['score']:.2f})" for c in candidates)
            print(f"{text}  mask {number + 1}: {shown}")
    print(fill(f"The film was {mask}.", targets=["good", "bad"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
