"""Let a model write: greedy, with beams, by chance, and word by word as it comes.

Run: python examples/generate_text.py [model] [beginning]
"""

import sys

from abrazo import load_model, stream


def main(model: str = "gpt2", beginning: str = "The film was") -> None:
    writer = load_model(model)
    tokenizer = writer.tokenizer
    ids = tokenizer(beginning, return_tensors="pt")["input_ids"]

    ways = {
        "greedy": {},
        "beams": {"num_beams": 4, "no_repeat_ngram_size": 2},
        "drawn": {"do_sample": True, "top_p": 0.9, "temperature": 0.8, "seed": 1},
        "drawn twice": {"do_sample": True, "num_return_sequences": 2, "seed": 1},
    }
    for name, options in ways.items():
        for text in writer.generate(ids, max_new_tokens=20, **options):
            print(f"{name}: {tokenizer.decode(text, skip_special_tokens=True)}")

    print(beginning, end="")
    for piece in stream(writer, beginning, max_new_tokens=20, stop_strings=["."]):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
