"""Train a small GPT from nothing; tell its loss in nats per character, whatever its pieces are.

Run: python examples/gpt_from_scratch.py [BEGINNING EPOCHS OUTPUT FILE.jsonl ...], rows with `text`.
"""

import sys

import abrazo as az

LENGTH = 128
PACE = {"learning_rate": 2e-3, "lr_scheduler_type": "cosine", "warmup_ratio": 0.05}


def blocks(ids: list[int], step: int) -> list[dict[str, list[int]]]:
    """Cut ids into rows; each id but the first is guessed from those before it in its row."""
    return [{"input_ids": ids[at : at + LENGTH + 1]} for at in range(0, len(ids) - 1, step)]


def main(start: str = "The ", epochs: str = "0.1", output: str = "gpt", *files: str) -> None:
    starter = az.load_dataset("abrazo/starter", language="en", split="train")
    text = "\n\n".join((az.Dataset.from_files(files) if files else starter)["text"])
    known, unseen = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]  # as nanoGPT
    size, width = (len(set(known)) + 1500, 192) if files else (500, 32)
    tokenizer = az.train_tokenizer(known.splitlines(keepends=True), "bpe", size, is_text=True)
    config = az.GPT2Config(n_positions=LENGTH + 1, n_embd=width, n_layer=4, n_head=4)
    model = az.GPT2LMHeadModel.from_config(config, tokenizer=tokenizer)
    train, dev = (tokenizer.encode(part, add_special_tokens=False) for part in (known, unseen))
    rows = blocks(train, LENGTH // 2)  # each id twice, with more and with less before it
    run = {**PACE, "num_train_epochs": float(epochs), "weight_decay": 0.1, "output_dir": output}
    result = az.fit("text-generation", rows, model=model, eval_data=blocks(dev, LENGTH), **run)
    nats = result.metrics["eval_loss"] * (len(dev) - 1) / len(unseen)
    print(len(unseen), "characters,", len(dev), "pieces:", nats, "nats per character")
    ids = tokenizer(start, add_special_tokens=False, return_tensors="pt")["input_ids"]
    for seed in range(3):
        written = model.generate(ids, max_new_tokens=100, do_sample=True, top_p=0.9, seed=seed)
        print("---", tokenizer.decode(written[0]), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
