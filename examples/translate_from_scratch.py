"""Train a small translator from nothing: its vocabulary, then the model; translate with it.

Run: python examples/translate_from_scratch.py [rows.jsonl with `text` and `translation`]
"""

import sys

import abrazo as az


def new_model(texts: list[str], size: int) -> az.BartForConditionalGeneration:
    tokenizer = az.train_tokenizer(texts, "bpe", 8000, is_text=True)
    config = az.BartConfig(
        vocab_size=len(tokenizer),
        d_model=size,
        **{f"{side}_layers": 3 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": 4 * size for side in ("encoder", "decoder")},
    )
    model = az.BartForConditionalGeneration(config)
    model.tokenizer = tokenizer
    return model


def main(file: str = "", output: str = "translator", epochs: str = "10") -> None:
    starter = az.load_dataset("abrazo/starter", language="en")["train"]
    rows = az.load_dataset("json", data_files=file) if file else starter
    model = new_model([*rows["text"], *rows["translation"]], size=256 if file else 64)
    args = az.TrainingArguments(
        output_dir=output, num_train_epochs=float(epochs), learning_rate=5e-4
    )
    az.Trainer(model, args, rows, rows.select(range(32)), task="translation").train()
    translate = az.pipeline("translation", model)
    for text in rows["text"][:5]:
        print(text, "->", translate(text, num_beams=4)["translation_text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
