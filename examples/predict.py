"""Answer with what was trained: through the trainer, through a pipeline, from a stream.

Run after another example: python examples/predict.py [folder of a run]
"""

import sys
from collections.abc import Iterator

from abrazo import Trainer, pipeline

TEXTS = ["Thank you, that was quick!", "Still no answer after three weeks.", "What does it cost?"]


def lines() -> Iterator[str]:
    yield from TEXTS * 1_000  # a file or a queue that never fits into memory


def main(folder: str = "sentiment") -> None:
    trainer = Trainer.from_pretrained(folder)  # the best model of the run, or the newest whole one
    print(trainer.tokenizer.tokenize(TEXTS[0]))
    numbers = trainer.predict(TEXTS).predictions.argmax(-1)
    print([trainer.model.config.labels[number] for number in numbers])
    print(trainer.predict(TEXTS[0]).predictions.shape)  # a single text is one row
    print(trainer.predict(trainer.tokenizer(TEXTS, padding=True)).predictions.argmax(-1))

    classify = pipeline("text-classification", folder)
    print(classify(TEXTS[0]), classify(TEXTS[0], top_k=2))
    answers = classify(lines())  # an iterator: read, answered and forgotten bit by bit
    print(sum(answer["label"] == classify(TEXTS[0])["label"] for answer in answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
