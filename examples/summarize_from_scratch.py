"""Train a small model from nothing to sum texts up, and hold it against their first sentences.

Run: python examples/summarize_from_scratch.py [train.jsonl dev.jsonl [output [epochs [start]]]]
with `text` and `summary`; `start` is the best/ of a run on other rows, such as clauses of texts.
"""

import re
import sys

import numpy as np

import abrazo as az
from abrazo.metrics import RougeMetrics

SIZES = {"d_model": 256, "encoder_layers": 4, "decoder_layers": 3, "scale_embedding": True}
SIDE = {"attention_heads": 4, "ffn_dim": 1024}
PACE = {"learning_rate": 1e-3, "warmup_ratio": 0.05, "metric_for_best_model": "rougeL"}
LENGTHS = {"max_length": 192, "generation": {"max_new_tokens": 40}}


def main(train: str = "", dev: str = "", out: str = "run", epochs: str = "1", start: str = ""):
    starter = az.load_dataset("abrazo/starter", language="en", split="train").take(32)
    rows, held_out = map(az.load_dataset, (train, dev)) if train else (starter, starter)
    held_out, rouge = held_out.take(200), RougeMetrics()
    first = [re.split(r"(?<=[!?。！？；])|(?<=\.)(?=\D)", t.strip())[0] for t in held_out["text"]]
    rouge.update(np.array(first, object), np.array(list(held_out["summary"]), object))
    print("ROUGE-L of first sentences:", rouge.compute()["rougeL"])
    pieces = az.train_tokenizer([*rows["text"], *rows["summary"]], "bpe", 6000, is_text=True)
    sides = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIDE.items()}
    config = az.PegasusConfig(**SIZES, **sides)
    model = start or az.PegasusForConditionalGeneration.from_config(config, tokenizer=pieces)
    run = {**PACE, **LENGTHS, "num_train_epochs": float(epochs), "output_dir": out}
    result = az.fit("summarization", rows, model=model, eval_data=held_out, **run)
    print("ROUGE-L of the model:", result.metrics["eval_rougeL"])
    for text, summary in zip(held_out["text"][:3], held_out["summary"], strict=False):
        print(summary, "<-", az.pipeline("summarization", result.path)(text)["summary_text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
