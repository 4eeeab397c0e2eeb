"""Training a translator: pairs a second, and tokens of their targets, of a small Transformer.

    python benchmarks/train_multi30k.py --data DATA/multi30k_en_de --rows 3200

Marian with three blocks on each side, 256 wide, new weights, 8,000 pieces learned from the rows
that are trained on; batch 64, one epoch, linear decay. The rival is `Seq2SeqTrainer` of
`transformers` with the same weights and pieces: as documented (fp32, padded to the longest of a
batch), in bf16, and in bf16 with pairs of like length together. Its rows are tokenised before the
clock starts; those of abrazo while it runs. `--rows 0` takes the whole training set.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import read_jsonl, run

BATCH = 64
RATE = 1e-3
SIDES = ("encoder", "decoder")


def _new_model(options: argparse.Namespace) -> tuple[Any, list[dict[str, str]]]:
    """Return a new model with its tokenizer, the same for every contender, and the rows."""
    import torch

    import abrazo as az

    rows = read_jsonl(f"{options.data}/train.jsonl", options.rows or None)
    texts = [row[side] for row in rows for side in ("source", "target")]
    tokenizer = az.train_tokenizer(texts, "bpe", options.pieces, is_text=True)
    sizes = {
        "layers": options.layers,
        "attention_heads": options.width // 64,
        "ffn_dim": 4 * options.width,
    }
    config = az.MarianConfig(
        vocab_size=len(tokenizer),
        d_model=options.width,
        scale_embedding=True,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **{f"{side}_{name}": size for side in SIDES for name, size in sizes.items()},
    )
    torch.manual_seed(options.seed)
    model = az.MarianMTModel(config)
    model.tokenizer = tokenizer
    return model, rows


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    from abrazo import Trainer, TrainingArguments

    model, rows = _new_model(options)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=f"{folder}/run",
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            seed=options.seed,
            precision=options.precision,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, task="translation")
        started = time.perf_counter()
        output = trainer.train()
        seconds = time.perf_counter() - started
    return _figures(model.tokenizer, rows, seconds, output.training_loss)


def _transformers(options: argparse.Namespace, **settings: object) -> dict[str, float]:
    from transformers import (
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        MarianMTModel,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
    )

    ours, rows = _new_model(options)
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = MarianMTModel.from_pretrained(folder)
        encoded = [
            dict(tokenizer(row["source"], text_target=row["target"], return_token_type_ids=False))
            for row in rows
        ]
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(Path(folder) / "run"),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            seed=options.seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        trainer = Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=encoded,
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
            processing_class=tokenizer,
        )
        started = time.perf_counter()
        output = trainer.train()
        seconds = time.perf_counter() - started
    return _figures(ours.tokenizer, rows, seconds, output.training_loss)


def _figures(
    tokenizer: Any, rows: list[dict[str, str]], seconds: float, loss: float
) -> dict[str, float]:
    tokens = tokenizer.encode_rows([row["target"] for row in rows], max_length=None)
    return {
        "rows_per_second": len(rows) / seconds,
        "target_tokens_per_second": int(tokens.lengths.sum()) / seconds,
        "train_loss": loss,
    }


def transformers_documented(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options)


def transformers_bf16(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options, bf16=True)


def transformers_grouped(options: argparse.Namespace) -> dict[str, float]:
    return _transformers(options, bf16=True, train_sampling_strategy="group_by_length")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows", type=int, default=3200)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3, help="of each side")
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--precision", default="auto")
    run(
        {
            "abrazo": abrazo,
            "transformers fp32": transformers_documented,
            "transformers bf16": transformers_bf16,
            "transformers bf16 grouped": transformers_grouped,
        },
        parser,
        figure="rows_per_second",
    )
