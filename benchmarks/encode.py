"""Encoding: sentences a second to vectors, against sentence-transformers.

    python benchmarks/encode.py --data DATA --model MODEL

DATA holds `stsb_en` and `banking77_en`; MODEL is a folder of sentence-transformers, or `minilm`.
The rival is `sentence_transformers` as documented (`model.encode(sentences)`: fp32, batches of 32;
it sorts by length itself) and at its best on a CPU (bf16). `cosine` is the mean cosine with the
rival's vectors in fp32 for the first sentences.
"""

import argparse
import itertools
import time
from typing import Any

import numpy as np
from harness import read_jsonl, run

_COMPARED = 200
_WARM_UP = 64


def _abrazo(options: argparse.Namespace, precision: str) -> dict[str, float]:
    from abrazo.models.auto import AutoModel

    model = AutoModel.from_pretrained(options.model)
    return _figures(options, lambda texts: model.encode(texts, precision=precision))


def abrazo(options: argparse.Namespace) -> dict[str, float]:
    return _abrazo(options, "auto")


def abrazo_fp32(options: argparse.Namespace) -> dict[str, float]:
    return _abrazo(options, "fp32")


def _rival(options: argparse.Namespace) -> Any:
    from sentence_transformers import SentenceTransformer

    from abrazo.hub.resolve import find_model

    return SentenceTransformer(str(find_model(options.model)), device="cpu")


def documented(options: argparse.Namespace) -> dict[str, float]:
    model = _rival(options)
    return _figures(options, model.encode)


def best(options: argparse.Namespace) -> dict[str, float]:
    model = _rival(options).bfloat16()

    def encode(texts: list[str]) -> np.ndarray:
        found = model.encode(texts, batch_size=64, convert_to_tensor=True)
        return found.float().numpy()

    return _figures(options, encode)


def _texts(options: argparse.Namespace) -> list[str]:
    pairs = read_jsonl(f"{options.data}/stsb_en/train.jsonl")
    questions = read_jsonl(f"{options.data}/banking77_en/train.jsonl")
    rows = zip(pairs, questions, strict=False)
    mixed = ((pair["text1"], pair["text2"], question["text"]) for pair, question in rows)
    return list(itertools.islice(itertools.chain.from_iterable(mixed), options.rows))


def _figures(options: argparse.Namespace, encode: Any) -> dict[str, float]:
    texts = _texts(options)
    encode(texts[:_WARM_UP])
    started = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - started
    expected = _rival(options).encode(texts[:_COMPARED])
    cosine = float((vectors[:_COMPARED] * expected).sum(1).mean())
    return {"rows_per_second": len(texts) / seconds, "cosine": cosine}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=10_000)
    run(
        {
            "abrazo": abrazo,
            "abrazo fp32": abrazo_fp32,
            "sentence-transformers": documented,
            "sentence-transformers bf16": best,
        },
        parser,
        figure="rows_per_second",
    )
