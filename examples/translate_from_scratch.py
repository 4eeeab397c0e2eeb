"""Train a small translator from nothing: its vocabulary, then the model; translate with it.

Run: python examples/translate_from_scratch.py [train.jsonl validation.jsonl [output [epochs]]]
with `source` and `target` in rows; without files it runs on a little of the data of abrazo.
"""

import sys

import abrazo as az


def new_model(texts: list[str], width: int, layers: int) -> az.PegasusForConditionalGeneration:
    tokenizer = az.train_tokenizer(texts, "bpe", 4000, is_text=True)
    sizes = {"layers": layers, "attention_heads": 4, "ffn_dim": 4 * width}
    config = az.PegasusConfig(
        vocab_size=len(tokenizer),
        d_model=width,
        scale_embedding=True,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **{f"encoder_{name}": size for name, size in sizes.items()},
        **{f"decoder_{name}": size for name, size in sizes.items()},
    )
    model = az.PegasusForConditionalGeneration(config)
    model.tokenizer = tokenizer
    return model


def main(train: str = "", dev: str = "", output: str = "translator", epochs: str = "4") -> None:
    if train:
        rows, held_out = (az.load_dataset("json", data_files=file) for file in (train, dev))
    else:
        rows = held_out = az.load_dataset("abrazo/starter", language="en")["train"].take(32)
    source, target = ("source", "target") if train else ("text", "translation")
    width, layers = (256, 2) if train else (32, 1)
    result = az.fit(
        "translation",
        rows,
        model=new_model([*rows[source], *rows[target]], width, layers),
        eval_data=held_out.shuffle().take(200),
        loss="label_smoothing",
        output_dir=output,
        num_train_epochs=float(epochs),
        per_device_train_batch_size=64,
        learning_rate=1.5e-3,
        warmup_ratio=0.1,
        metric_for_best_model="chrf",
        generation={"max_new_tokens": 60},
    )
    print(result.metrics)
    translate = az.pipeline("translation", result.path)
    for row in held_out.shuffle().take(5):
        print(row[source], "->", translate(row[source], num_beams=4)["translation_text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
