"""Pretrain a small BERT from a text file: its tokenizer, hidden words and next sentences.

Run: python examples/pretrain.py corpus.txt
The same on the command line: abrazo pretrain corpus.txt --objectives mlm,nsp --config small
"""

import sys

from abrazo import PretrainingArguments, PretrainingOptions, pipeline, pretrain


def main(corpus: str, output: str = "pretrained", size: str = "small", vocab: str = "8000") -> None:
    options = PretrainingOptions(
        objectives="mlm,nsp", config=size, vocab_size=int(vocab), whole_words=True
    )
    args = PretrainingArguments(output_dir=output, num_train_epochs=3)
    trainer = pretrain(corpus, options, args, eval_files=corpus)  # run again to go on
    print(trainer.state.best_metrics)
    fill = pipeline("fill-mask", f"{output}/best")
    print(fill(f"It was {fill.tokenizer.mask_token}.", top_k=3))
    print(pipeline("pretraining", f"{output}/best")(("We met in Paris.", "It was raining.")))


if __name__ == "__main__":
    main(*sys.argv[1:])
