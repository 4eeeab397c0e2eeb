"""Generation: new tokens a second, against transformers and CTranslate2.

    python benchmarks/generate.py --data DATA --what translate --beams 4
    python benchmarks/generate.py --what continue

`translate` writes for 200 English sentences of `tatoeba_en_zh` in DATA with a model of the size of
Marian's (6 + 6 layers, width 512, 58,101 words); `continue` goes on from 8 prompts of 32 tokens
with a decoder of the size of GPT-2. Their weights are random, so no text would ever end by itself:
each row gets the same number of new tokens (`--new-tokens`), the same for all contenders. What
trained models gain from rows that end early is not measured here.

Contenders: abrazo and transformers in bf16 (transformers sorted by length, in batches of `--batch`
sentences), and CTranslate2 in int8 and fp32, which sorts and batches itself.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import read_jsonl, run

_MARIAN = {
    "vocab_size": 58_101,
    "d_model": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 2_048,
    "decoder_ffn_dim": 2_048,
    "max_position_embeddings": 512,
    "activation_function": "swish",
    "scale_embedding": True,
    "pad_token_id": 58_100,
    "eos_token_id": 0,
    "decoder_start_token_id": 58_100,
    "forced_eos_token_id": None,
}
_WARM_UP = 16


def _folder(options: argparse.Namespace) -> Path:
    """Return a folder with a model of random weights, made when absent."""
    import torch
    import transformers

    folder = Path(options.models) / options.what
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        made: Any
        if options.what == "translate":
            made = transformers.MarianMTModel(transformers.MarianConfig(**_MARIAN))
        else:
            made = transformers.GPT2LMHeadModel(transformers.GPT2Config())
        made.save_pretrained(folder)
    return folder


def _rows(options: argparse.Namespace) -> list[np.ndarray]:
    """Return ids: a token for each word or sign, as random weights do not care which."""
    generator = np.random.default_rng(0)
    if options.what == "continue":
        return [generator.integers(3, 50_000, 32) for _ in range(options.rows or 8)]
    table = read_jsonl(f"{options.data}/tatoeba_en_zh/test.jsonl")
    step = len(table) // (options.rows or 200)  # the file is sorted by length
    texts = [row["source"] for row in table[::step]][: options.rows or 200]
    lengths = [len(text.replace(".", " .").replace(",", " ,").split()) for text in texts]
    return [np.append(generator.integers(3, 58_000, length), 0) for length in lengths]


Write = Callable[[list[np.ndarray]], None]


def _figures(options: argparse.Namespace, write: Write) -> dict[str, float]:
    rows = _rows(options)
    write(rows[:_WARM_UP])
    started = time.perf_counter()
    write(rows)
    seconds = time.perf_counter() - started
    return {
        "tokens_per_second": len(rows) * options.new_tokens / seconds,
        "rows_per_second": len(rows) / seconds,
    }


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    import torch

    from abrazo import load_model
    from abrazo.generation.config import GenerationConfig
    from abrazo.generation.decoding import generate_rows

    model = load_model(_folder(options), dtype=torch.bfloat16)
    count = options.new_tokens
    config = GenerationConfig(max_new_tokens=count, min_new_tokens=count, num_beams=options.beams)

    def write(rows: list[np.ndarray]) -> None:
        if options.what == "translate":
            found = generate_rows(model, None, config, sources=rows)
        else:
            found = generate_rows(model, rows, config)
        assert all(len(text.ids) == count for text in found)

    return _figures(options, write)


def transformers_bf16(options: argparse.Namespace) -> dict[str, float]:
    import torch
    import transformers

    translates = options.what == "translate"
    kind: Any = (
        transformers.AutoModelForSeq2SeqLM if translates else transformers.AutoModelForCausalLM
    )
    model = kind.from_pretrained(_folder(options), dtype=torch.bfloat16).eval()
    pad = model.config.pad_token_id if translates else 0

    def write(rows: list[np.ndarray]) -> None:
        ordered = sorted(rows, key=len, reverse=True)
        for start in range(0, len(ordered), options.batch):
            some = ordered[start : start + options.batch]
            ids = torch.full((len(some), max(map(len, some))), pad)
            for row, into in zip(some, ids, strict=True):
                into[: len(row)] = torch.from_numpy(row)
            with torch.inference_mode():
                model.generate(
                    ids,
                    attention_mask=(ids != pad).long(),
                    max_new_tokens=options.new_tokens,
                    min_new_tokens=options.new_tokens,
                    num_beams=options.beams,
                    pad_token_id=pad,
                )

    return _figures(options, write)


def _ctranslate2(options: argparse.Namespace, precision: str) -> dict[str, float]:
    import ctranslate2

    folder = _folder(options)
    converted = folder.with_name(f"{folder.name}-ctranslate2-{precision}")
    if not converted.exists():
        _convert(folder, converted, precision)
    threads = {"inter_threads": 1, "intra_threads": options.threads}
    names = [str(number) for number in range(58_101)]
    limits = {"beam_size": options.beams, "max_batch_size": 4_096, "batch_type": "tokens"}
    if options.what == "continue":
        generator = ctranslate2.Generator(str(converted), compute_type=precision, **threads)

        def go_on(rows: list[np.ndarray]) -> None:
            generator.generate_batch(
                [[names[token] for token in row] for row in rows],
                max_length=options.new_tokens,
                min_length=options.new_tokens,
                include_prompt_in_result=False,
                **limits,
            )

        return _figures(options, go_on)
    translator = ctranslate2.Translator(str(converted), compute_type=precision, **threads)

    def translate(rows: list[np.ndarray]) -> None:
        translator.translate_batch(
            [[names[token] for token in row] for row in rows],
            max_decoding_length=options.new_tokens,
            min_decoding_length=options.new_tokens,
            **limits,
        )

    return _figures(options, translate)


def _convert(folder: Path, converted: Path, precision: str) -> None:
    """Convert with stand-ins for the vocabulary, as the model has no texts to read or write."""
    from ctranslate2.converters.transformers import TransformersConverter

    class Words:
        """Every number is a word."""

        def __init__(self, size: int) -> None:
            self.words = {str(number): number for number in range(size - 1)}
            self.words["<pad>"] = size - 1
            self.unk_token, self.bos_token, self.eos_token = "1", "2", "0"
            self.pad_token = "<pad>"
            self.name_or_path = str(folder)
            self.all_special_tokens: list[str] = []

        def get_vocab(self) -> dict[str, int]:
            return self.words

        def convert_ids_to_tokens(self, ids: Any) -> Any:
            return str(ids) if isinstance(ids, int) else [*map(str, ids)]

    class Converter(TransformersConverter):
        def load_tokenizer(self, tokenizer_class: Any, name: str, **options: Any) -> Any:
            return Words(58_101 if folder.name == "translate" else 50_257)

    Converter(str(folder)).convert(str(converted), quantization=precision)


def ctranslate2_int8(options: argparse.Namespace) -> dict[str, float]:
    return _ctranslate2(options, "int8")


def ctranslate2_fp32(options: argparse.Namespace) -> dict[str, float]:
    return _ctranslate2(options, "float32")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data")
    parser.add_argument("--what", choices=["translate", "continue"], default="translate")
    parser.add_argument("--models", default="/tmp/abrazo-benchmark-models")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--rows", type=int, help="200 sentences or 8 prompts unless told")
    parser.add_argument("--batch", type=int, default=32, help="sentences of a transformers batch")
    run(
        {
            "abrazo": abrazo,
            "transformers bf16": transformers_bf16,
            "ctranslate2 int8": ctranslate2_int8,
            "ctranslate2 fp32": ctranslate2_fp32,
        },
        parser,
        figure="tokens_per_second",
    )
