"""Go on training a model on your own text file, then use it.

Run: python examples/continue_on_own_text.py train.txt [model]
"""

import sys

from abrazo import BertModel, TextDataset, Trainer, TrainingArguments, pipeline


def main(file: str, name: str = "bert-base-uncased", output: str = "continued") -> None:
    model = BertModel.from_pretrained(name)
    data = TextDataset(tokenizer=model.tokenizer, files=[file], block_size=128)
    args = TrainingArguments(output_dir=output, num_train_epochs=1, learning_rate=5e-5)
    trainer = Trainer(model=model, args=args, train_dataset=data)  # says that it learns words
    print(trainer.train().metrics)
    print(trainer.evaluate(data))
    fill = pipeline("fill-mask", f"{output}/best")
    print(fill(f"This is {fill.tokenizer.mask_token}.", top_k=3))


if __name__ == "__main__":
    main(*sys.argv[1:])
