"""Generation: new tokens a second, against transformers in bf16 and CTranslate2 in int8.

    python benchmarks/generate.py --data DATA

Three cases: `greedy` and `beams` (four) write for 200 English sentences of `tatoeba_en_zh` with a
model of the size of Marian's (6 + 6 blocks, width 512, 58,101 words); `continue` goes on from eight
prompts of 32 tokens with a decoder of the size of GPT-2, for 128 tokens. `--cases` takes some.

Weights are random, and no token ends a row: each gets the same number of new tokens, the same for
all contenders. What trained models gain from rows that end early is not measured here.

transformers gets its sentences sorted by length, in batches of a size that suits it (`--batch`,
`--beam-batch`); abrazo and CTranslate2 sort and cut batches themselves. Each contender writes for
some rows before the clock starts, and takes the fastest of `--repetitions`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import read_jsonl, run

_MARIAN: dict[str, Any] = {
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
    "eos_token_id": None,
    "decoder_start_token_id": 58_100,
    "forced_eos_token_id": None,
}
_CASES = ("greedy", "beams", "continue")
_BEAMS = 4
_WARM_UP = 16

Write = Callable[[list[np.ndarray]], None]


def _folder(options: argparse.Namespace, case: str) -> Path:
    """Return a folder with a model of random weights, made when absent."""
    import torch
    import transformers

    folder = Path(options.models) / ("gpt2" if case == "continue" else "marian")
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        made: Any
        if case == "continue":
            made = transformers.GPT2LMHeadModel(transformers.GPT2Config(eos_token_id=None))
        else:
            made = transformers.MarianMTModel(transformers.MarianConfig(**_MARIAN))
        made.save_pretrained(folder)
    return folder


def _rows(options: argparse.Namespace, case: str) -> list[np.ndarray]:
    """Return ids: a token for each word or sign, as random weights do not care which."""
    generator = np.random.default_rng(0)
    if case == "continue":
        return [generator.integers(3, 50_000, 32) for _ in range(options.prompts)]
    table = read_jsonl(f"{options.data}/tatoeba_en_zh/test.jsonl")
    step = len(table) // options.sentences  # the file is sorted by length
    texts = [row["source"] for row in table[::step]][: options.sentences]
    lengths = [len(text.replace(".", " .").replace(",", " ,").split()) for text in texts]
    return [np.append(generator.integers(3, 58_000, length), 0) for length in lengths]


def _figures(
    options: argparse.Namespace, writer_of: Callable[[argparse.Namespace, str, int], Write]
) -> dict[str, float]:
    """Return new tokens a second of each case."""
    found = {}
    for case in options.cases:
        count = options.new_tokens or (128 if case == "continue" else 24)
        write, rows = writer_of(options, case, count), _rows(options, case)
        write(rows[:_WARM_UP])
        seconds = []
        for _ in range(options.repetitions):
            started = time.perf_counter()
            write(rows)
            seconds.append(time.perf_counter() - started)
        found[case] = len(rows) * count / min(seconds)
    return found


def _abrazo(options: argparse.Namespace, case: str, count: int) -> Write:
    import torch

    from abrazo import GenerationConfig, load_model
    from abrazo.generation.decoding import generate_rows

    model = load_model(_folder(options, case), dtype=torch.bfloat16)
    beams = _BEAMS if case == "beams" else 1
    config = GenerationConfig(max_new_tokens=count, num_beams=beams)

    def write(rows: list[np.ndarray]) -> None:
        if case == "continue":
            found = generate_rows(model, rows, config)
        else:
            found = generate_rows(model, None, config, sources=rows)
        assert all(len(text.ids) == count for text in found)

    return write


def _transformers(options: argparse.Namespace, case: str, count: int) -> Write:
    import torch
    import transformers

    goes_on = case == "continue"
    kind: Any = transformers.AutoModelForCausalLM if goes_on else transformers.AutoModelForSeq2SeqLM
    model = kind.from_pretrained(_folder(options, case), dtype=torch.bfloat16).eval()
    pad = 0 if goes_on else model.config.pad_token_id
    size = options.beam_batch if case == "beams" else options.batch

    def write(rows: list[np.ndarray]) -> None:
        ordered = sorted(rows, key=len, reverse=True)
        for start in range(0, len(ordered), size):
            some = ordered[start : start + size]
            ids = torch.full((len(some), max(map(len, some))), pad)
            mask = torch.zeros_like(ids)
            for row, into, seen in zip(some, ids, mask, strict=True):
                into[: len(row)] = torch.from_numpy(row)
                seen[: len(row)] = 1
            with torch.inference_mode():
                written = model.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=count,
                    num_beams=_BEAMS if case == "beams" else 1,
                    do_sample=False,
                    pad_token_id=pad,
                )
            assert written.shape[1] == count + (ids.shape[1] if goes_on else 1)

    return write


def _ctranslate2(options: argparse.Namespace, case: str, count: int) -> Write:
    import ctranslate2

    converted = _converted(_folder(options, case))
    threads = {"inter_threads": 1, "intra_threads": options.threads}
    names = [str(number) for number in range(58_101)]
    limits = {
        "beam_size": _BEAMS if case == "beams" else 1,
        "max_batch_size": options.ctranslate2_batch,
        "batch_type": "tokens",
    }
    if case == "continue":
        generator = ctranslate2.Generator(str(converted), compute_type="int8", **threads)

        def go_on(rows: list[np.ndarray]) -> None:
            generator.generate_batch(
                [[names[token] for token in row] for row in rows],
                max_length=count,
                min_length=count,
                include_prompt_in_result=False,
                **limits,
            )

        return go_on
    translator = ctranslate2.Translator(str(converted), compute_type="int8", **threads)

    def translate(rows: list[np.ndarray]) -> None:
        translator.translate_batch(
            [[names[token] for token in row] for row in rows],
            max_decoding_length=count,
            min_decoding_length=count,
            **limits,
        )

    return translate


def _converted(folder: Path) -> Path:
    """Convert with stand-ins for the vocabulary, as the model has no texts to read or write."""
    from ctranslate2.converters.transformers import TransformersConverter

    target = folder.with_name(f"{folder.name}-ctranslate2")
    if target.exists():
        return target

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
            return Words(50_257 if folder.name == "gpt2" else 58_101)

    Converter(str(folder)).convert(str(target), quantization="int8")
    return target


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    return _figures(options, _abrazo)


def transformers_bf16(options: argparse.Namespace) -> dict[str, float]:
    return _figures(options, _transformers)


def ctranslate2_int8(options: argparse.Namespace) -> dict[str, float]:
    return _figures(options, _ctranslate2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data")
    parser.add_argument("--cases", nargs="+", choices=_CASES, default=_CASES)
    parser.add_argument("--models", default="/tmp/abrazo-benchmark-models")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, help="24 or, in `continue`, 128 unless told")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100, help="sentences of transformers, greedy")
    parser.add_argument("--beam-batch", type=int, default=50, help="the same with beams")
    parser.add_argument("--ctranslate2-batch", type=int, default=4_096, help="tokens of a batch")
    run(
        {
            "abrazo": abrazo,
            "transformers bf16": transformers_bf16,
            "ctranslate2 int8": ctranslate2_int8,
        },
        parser,
        figure=_CASES,
    )
