"""Tokenizers by the name of their family, for folders that do not say whose they are.

    tokenizer = T5Tokenizer.from_pretrained("t5-small")

All are the one `Tokenizer`: a folder's files say how it works. The class's name counts where a
folder has a vocabulary alone, without `tokenizer_config.json` or `config.json`.
"""

from abrazo.tokenization.tokenizer import Tokenizer


class AlbertTokenizer(Tokenizer):
    """ALBERT's (Lan et al. 2019): Unigram in lower case, from `spiece.model`."""

    family = "AlbertTokenizer"


class BartTokenizer(Tokenizer):
    """BART's (Lewis et al. 2019): byte-level BPE, from `vocab.json` and `merges.txt`."""

    family = "BartTokenizer"


class GPT2Tokenizer(Tokenizer):
    """GPT-2's (Radford et al. 2019): byte-level BPE, from `vocab.json` and `merges.txt`."""

    family = "GPT2Tokenizer"


class GemmaTokenizer(Tokenizer):
    """Gemma's (Gemma Team 2024): BPE with bytes, from `tokenizer.model`."""

    family = "GemmaTokenizer"


class LlamaTokenizer(Tokenizer):
    """Llama's and Mistral's (Touvron et al. 2023): BPE with bytes, from `tokenizer.model`."""

    family = "LlamaTokenizer"


class M2M100Tokenizer(Tokenizer):
    """M2M-100's (Fan et al. 2020): `sentencepiece.bpe.model`, ids from `vocab.json`, languages."""

    family = "M2M100Tokenizer"


class MBart50Tokenizer(Tokenizer):
    """mBART-50's (Tang et al. 2020): Unigram from `sentencepiece.bpe.model`, with languages."""

    family = "MBart50Tokenizer"


class MBartTokenizer(Tokenizer):
    """mBART's (Liu et al. 2020): Unigram from `sentencepiece.bpe.model`, with languages."""

    family = "MBartTokenizer"


class MarianTokenizer(Tokenizer):
    """Marian's (Junczys-Dowmunt et al. 2018): `source.spm`, `target.spm`, ids from `vocab.json`."""

    family = "MarianTokenizer"


class NllbTokenizer(Tokenizer):
    """NLLB's (NLLB Team 2022): BPE from `sentencepiece.bpe.model`, with languages."""

    family = "NllbTokenizer"


class PegasusTokenizer(Tokenizer):
    """Pegasus's (Zhang et al. 2019): Unigram from `spiece.model`, behind 103 other tokens."""

    family = "PegasusTokenizer"


class Qwen2Tokenizer(Tokenizer):
    """Qwen2's and Qwen3's (Yang et al. 2024): byte-level BPE, from `vocab.json`, `merges.txt`."""

    family = "Qwen2Tokenizer"


class RobertaTokenizer(Tokenizer):
    """RoBERTa's (Liu et al. 2019): byte-level BPE, from `vocab.json` and `merges.txt`."""

    family = "RobertaTokenizer"


class T5Tokenizer(Tokenizer):
    """T5's and mT5's (Raffel et al. 2019): Unigram from `spiece.model`, with sentinels."""

    family = "T5Tokenizer"


class XLMRobertaTokenizer(Tokenizer):
    """XLM-R's (Conneau et al. 2019): Unigram from `sentencepiece.bpe.model`."""

    family = "XLMRobertaTokenizer"


class TranslationTokenizer(Tokenizer):
    """The tokenizer of any model that translates: Marian, mBART, M2M-100, NLLB, T5.

    Which one, the folder says; `target` is what encodes and decodes the other language.
    """


class CamembertTokenizer(Tokenizer):
    """CamemBERT's (Martin et al. 2019): Unigram from `sentencepiece.bpe.model`."""

    family = "CamembertTokenizer"


class XLNetTokenizer(Tokenizer):
    """XLNet's (Yang et al. 2019): Unigram from `spiece.model`, special tokens behind the text."""

    family = "XLNetTokenizer"
