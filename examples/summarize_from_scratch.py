"""Train a small model from nothing to sum texts up, and hold it against their first sentences.

Run: python examples/summarize_from_scratch.py [train.jsonl validation.jsonl [output [epochs]]]
with `text` and `summary` in rows. From few rows it learns how summaries sound, not what to copy.
"""

import re
import sys

import numpy as np

import abrazo as az
from abrazo.metrics import RougeMetrics


def rouge_of_first_sentences(rows: az.Dataset) -> float:
    ends = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])")
    first = [ends.split(text.strip())[0] for text in rows["text"]]
    rouge = RougeMetrics()
    rouge.update(np.array(first, object), np.array(list(rows["summary"]), object))
    return rouge.compute()["rougeL"]


def new_model(texts: list[str], num_pieces: int) -> az.PegasusForConditionalGeneration:
    tokenizer = az.train_tokenizer(texts, "bpe", num_pieces, is_text=True)
    config = az.PegasusConfig(
        vocab_size=len(tokenizer),
        d_model=128,
        scale_embedding=True,
        dropout=0.2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": 512 for side in ("encoder", "decoder")},
    )
    model = az.PegasusForConditionalGeneration(config)
    model.tokenizer = tokenizer
    return model


def main(train: str = "", dev: str = "", output: str = "summarizer", epochs: str = "1") -> None:
    if train:
        rows, held_out = (az.load_dataset("json", data_files=file) for file in (train, dev))
    else:
        rows = held_out = az.load_dataset("abrazo/starter", language="en")["train"].take(32)
    held_out = held_out.shuffle().take(200)
    print("ROUGE-L of first sentences:", rouge_of_first_sentences(held_out))
    result = az.fit(
        "summarization",
        rows,
        model=new_model([*rows["text"], *rows["summary"]], 4000 if train else 600),
        eval_data=held_out,
        loss="label_smoothing",
        output_dir=output,
        num_train_epochs=float(epochs),
        learning_rate=2e-3,
        warmup_ratio=0.1,
        metric_for_best_model="rougeL",
        max_length=192,
        generation={"max_new_tokens": 40, "no_repeat_ngram_size": 3},
    )
    print("ROUGE-L of the model:", result.metrics["eval_rougeL"])
    summarize = az.pipeline("summarization", result.path)
    for row in held_out.take(5):
        print(row["summary"], "<-", summarize(row["text"])["summary_text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
