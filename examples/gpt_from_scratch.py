"""Train a small GPT from nothing; tell its loss in nats per character, whatever its pieces are.

Run: python examples/gpt_from_scratch.py [BEGINNING EPOCHS OUTPUT FILE.jsonl ...], rows with `text`.
The last tenth of all characters is for validation, as nanoGPT cuts its Shakespeare.
"""

import sys

import abrazo as az

LENGTH = 128


def blocks(ids: list[int], step: int) -> list[dict[str, list[int]]]:
    """Cut ids into rows; each id but the first is guessed from those before it in its row."""
    return [{"input_ids": ids[at : at + LENGTH + 1]} for at in range(0, len(ids) - 1, step)]


def new_model(texts: list[str], num_pieces: int, width: int) -> az.GPT2LMHeadModel:
    tokenizer = az.train_tokenizer(texts, "bpe", num_pieces, is_text=True)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"n_positions": LENGTH + 1, "n_embd": width, "n_layer": 4, "n_head": 4}
    model = az.GPT2LMHeadModel(az.GPT2Config(vocab_size=len(tokenizer), **sizes, **ends))
    model.tokenizer = tokenizer
    return model


def main(start: str = "The ", epochs: str = "0.1", output: str = "gpt", *files: str) -> None:
    starter = az.load_dataset("abrazo/starter", language="en")["train"]
    rows = az.load_dataset("json", data_files=list(files)) if files else starter
    text = "\n\n".join(rows["text"])
    known, unseen = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    num_pieces, width = (len(set(known)) + 1500, 192) if files else (500, 32)
    model = new_model(known.splitlines(keepends=True), num_pieces, width)
    encode = model.tokenizer.encode
    train, dev = (encode(part, add_special_tokens=False) for part in (known, unseen))
    result = az.fit(
        "text-generation",
        blocks(train, LENGTH // 2),  # each id twice, with more and with less before it
        model=model,
        eval_data=blocks(dev, LENGTH),
        output_dir=output,
        num_train_epochs=float(epochs),
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_ratio=0.05,
        weight_decay=0.1,
    )
    nats = result.metrics["eval_loss"] * (len(dev) - 1)
    print(len(unseen), "characters,", len(dev), "pieces:", nats / len(unseen), "nats per character")
    ids = model.tokenizer(start, add_special_tokens=False, return_tensors="pt")["input_ids"]
    for seed in range(3):
        written = model.generate(ids, max_new_tokens=100, do_sample=True, top_p=0.9, seed=seed)
        print("---", model.tokenizer.decode(written[0]), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
