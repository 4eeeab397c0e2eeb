"""Teach a model to answer questions out of a text, or to say that the text has no answer.

Run: python examples/answer_questions.py [model] [output folder] [epochs]
"""

import sys

from abrazo import fit, load_dataset, pipeline

TEXT = (
    "The concert in the Rosewater Arena begins at eight. Tickets are checked at the north gate, "
    "and Luca sells drinks behind the stage."
)


def main(model: str = "minilm", output: str = "answers", epochs: str = "3") -> None:
    data = load_dataset("abrazo/starter", language="en")  # context, question, answers with places
    result = fit(
        "question-answering",
        data,
        model=model,
        output_dir=output,
        num_train_epochs=int(epochs),
        learning_rate=2e-4,
    )
    print({name: round(value, 3) for name, value in result.metrics.items()})
    ask = pipeline("question-answering", result.path)
    print(ask(question="Where are tickets checked?", context=TEXT))
    print(ask(question="Who sells drinks?", context=TEXT, top_k=3))
    print(ask(question="What does a ticket cost?", context=TEXT))
    long = TEXT + " The band plays old songs." * 300  # read in overlapping windows
    print(ask(question="Where are tickets checked?", context=long))


if __name__ == "__main__":
    main(*sys.argv[1:])
