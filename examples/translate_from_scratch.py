"""Train a small translator from nothing: its vocabulary, then the model; translate with it.

Run: python examples/translate_from_scratch.py [train.jsonl validation.jsonl [output [epochs]]]
with `source` and `target` in rows; without files it runs on a little of the data of abrazo.
"""

import sys

import abrazo as az

SIZES = {"d_model": 256, "max_position_embeddings": 256, "scale_embedding": True}
SIDE = {"layers": 2, "attention_heads": 4, "ffn_dim": 1024}
RUN = {"loss": "label_smoothing", "learning_rate": 1.5e-3, "warmup_ratio": 0.1, "batch_size": 64}


def main(train: str = "", dev: str = "", output: str = "translator", epochs: str = "4") -> None:
    starter = az.load_dataset("abrazo/starter", language="en", split="train").take(32)
    rows, held_out = map(az.load_dataset, (train, dev)) if train else (starter, starter)
    source, target = ("source", "target") if train else ("text", "translation")
    tokenizer = az.train_tokenizer([*rows[source], *rows[target]], "bpe", 4000, is_text=True)
    sides = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIDE.items()}
    config = az.PegasusConfig(**SIZES, **sides)
    run = {**RUN, "num_train_epochs": float(epochs), "metric_for_best_model": "chrf"}
    result = az.fit(
        "translation",
        rows,
        model=az.PegasusForConditionalGeneration.from_config(config, tokenizer=tokenizer),
        eval_data=held_out.shuffle().take(200),
        output_dir=output,
        generation={"max_new_tokens": 60},
        **run,
    )
    print(result.metrics)
    translate = az.pipeline("translation", result.path)
    for row in held_out.shuffle().take(5):
        print(row[source], "->", translate(row[source], num_beams=4)["translation_text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
