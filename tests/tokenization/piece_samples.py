"""SentencePiece files that tests train in memory, and folders as checkpoints have them."""

import io
import json
import random
import re
from functools import cache
from pathlib import Path

import sentencepiece

WORDS = re.findall(
    r"\S+",
    "the quick brown fox jumps over lazy dog hello world translation machine learning summary "
    "café naïve Straße an of and 2024 12 3.5%",
)
CHINESE = "你好世界机器翻译深度学习今天天气很好我们去公园，。"
ODD = "abcdefghij thequickbrown   \t\n你好世界机器翻译▁😀é①Ａ👩‍👩‍👧"

_random = random.Random(0)
LINES = [
    *(
        " ".join(_random.choices(WORDS, k=8)).capitalize() + _random.choice(".!?")
        for _ in range(300)
    ),
    *("".join(_random.choices(CHINESE, k=8)) for _ in range(300)),
    *["2024年 12 $ 3.5%  😀 x"] * 20,
]


@cache
def train(kind: str, **options: object) -> bytes:
    """Train a SentencePiece model on a few hundred lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=written,
        model_type=kind,
        minloglevel=2,
        hard_vocab_limit=False,
        **{"vocab_size": 300, **options},
    )
    return written.getvalue()


def processor(data: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def plain_texts(count: int = 200) -> list[str]:
    """Texts as people write them, without runs of spaces or control characters."""
    rng = random.Random(1)
    words = [*WORDS, "unseen", "Ωmega", "😀", "don't", "x,y"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(count)]
    return [*texts, *("".join(rng.choices(CHINESE, k=rng.randint(1, 20))) for _ in range(count))]


def odd_texts(count: int) -> list[str]:
    """Texts with odd spaces, tabs, marks for spaces, emoji and wide letters."""
    rng = random.Random(2)
    return ["", " ", "\n", *("".join(rng.choices(ODD, k=rng.randint(0, 30))) for _ in range(count))]


FAIRSEQ = {"kind": "unigram"}
LLAMA = {
    "kind": "bpe",
    "vocab_size": 500,
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
FILES = {
    "T5Tokenizer": (
        "spiece.model",
        {"kind": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    ),
    "PegasusTokenizer": (
        "spiece.model",
        {"kind": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    ),
    "AlbertTokenizer": (
        "spiece.model",
        {
            "kind": "unigram",
            "pad_id": 0,
            "unk_id": 1,
            "bos_id": -1,
            "eos_id": -1,
            "control_symbols": "[CLS],[SEP],[MASK]",
        },
    ),
    "XLNetTokenizer": (
        "spiece.model",
        {
            "kind": "unigram",
            "control_symbols": "<cls>,<sep>,<pad>,<mask>,<eod>,<eop>",
        },
    ),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model", FAIRSEQ),
    "CamembertTokenizer": ("sentencepiece.bpe.model", FAIRSEQ),
    "MBartTokenizer": ("sentencepiece.bpe.model", FAIRSEQ),
    "MBart50Tokenizer": ("sentencepiece.bpe.model", FAIRSEQ),
    "NllbTokenizer": ("sentencepiece.bpe.model", {"kind": "bpe"}),
    "LlamaTokenizer": ("tokenizer.model", LLAMA),
    "GemmaTokenizer": (
        "tokenizer.model",
        {
            **LLAMA,
            "add_dummy_prefix": False,
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "bos_piece": "<bos>",
            "eos_piece": "<eos>",
        },
    ),
}
"""The file and the training of each family."""


def model_bytes(family: str) -> bytes:
    return train(**FILES[family][1])


def write_family(folder: Path, family: str, **config: object) -> Path:
    """Write a folder as a checkpoint of a family has it: one SentencePiece file, little else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILES[family][0]).write_bytes(model_bytes(family))
    values = {"tokenizer_class": family, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def write_marian(folder: Path, *, lacking: int = 5, **config: object) -> Path:
    """Write Marian's files: two SentencePiece files, and ids that are in neither's order."""
    folder.mkdir(parents=True, exist_ok=True)
    source, target = (
        train("unigram"),
        train("unigram", vocab_size=250, normalization_rule_name="nfkc"),
    )
    pieces = {p.id_to_piece(n) for p in map(processor, (source, target)) for n in range(len(p))}
    ordered = sorted(pieces - {"<s>", "</s>", "<unk>"})[lacking:]
    tokens = ["</s>", "<unk>", *ordered, ">>de<<", ">>zh<<", "<pad>"]
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    _write_json(folder / "vocab.json", {token: n for n, token in enumerate(tokens)})
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer", **config})
    return folder


def write_m2m(folder: Path, **config: object) -> Path:
    """Write M2M-100's files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = train("bpe")
    pieces = [processor(data).id_to_piece(n) for n in range(3, len(processor(data)) - 4)]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces), "unused"]
    (folder / "sentencepiece.bpe.model").write_bytes(data)
    _write_json(folder / "vocab.json", {token: n for n, token in enumerate(tokens)})
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "M2M100Tokenizer", **config})
    return folder


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
