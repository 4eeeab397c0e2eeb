"""The same tiny random model in abrazo and in `transformers`."""

from pathlib import Path
from typing import Any

import torch
import transformers

from abrazo import load_model
from abrazo.models.base import PretrainedModel
from helpers.tiny import scramble

VOCAB_SIZE = 60
END = 2
PAD = 1  # not 0, for which beams of `transformers` are filled with the end token


def llama_pair(
    folder: Path, *, std: float = 0.4, **changes: Any
) -> tuple[transformers.PreTrainedModel, PretrainedModel]:
    """Return a decoder of both libraries with the same weights."""
    config = transformers.LlamaConfig(
        **{
            "vocab_size": VOCAB_SIZE,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 64,
            "bos_token_id": 0,
            "eos_token_id": END,
            "pad_token_id": PAD,
            **changes,
        }
    )
    return both(transformers.LlamaForCausalLM(config), folder, std=std)


def both(
    theirs: transformers.PreTrainedModel, folder: Path, *, std: float
) -> tuple[transformers.PreTrainedModel, PretrainedModel]:
    """Return a model of `transformers` with random weights, and ours with the same."""
    scramble(theirs, std=std)
    for part in theirs.modules():
        if hasattr(part, "create_weight"):  # sinusoids are no weights
            part.weight.data.copy_(part.create_weight())
    theirs.eval().save_pretrained(folder)
    return theirs, load_model(folder)


def prompts(*lengths: int, seed: int = 0, first: int = 3) -> list[torch.Tensor]:
    """Return rows of random tokens without special ones."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(first, VOCAB_SIZE, (length,), generator=generator) for length in lengths]


def left_padded(rows: list[torch.Tensor], pad: int = PAD) -> dict[str, torch.Tensor]:
    """Return rows as `transformers` takes them for decoders."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for row, into, kept in zip(rows, ids, mask, strict=True):
        into[longest - len(row) :] = row
        kept[longest - len(row) :] = 1
    return {"input_ids": ids, "attention_mask": mask}


def right_padded(rows: list[torch.Tensor], pad: int) -> dict[str, torch.Tensor]:
    """Return rows as `transformers` takes them for encoders."""
    batch = left_padded([row.flip(0) for row in rows], pad)
    return {name: values.flip(1) for name, values in batch.items()}


_SIZES = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 64,
    "eos_token_id": END,
    "pad_token_id": PAD,
    "bos_token_id": 0,
}


def seq2seq_model(family: str) -> transformers.PreTrainedModel:
    """Return a tiny encoder-decoder of `transformers`."""
    if family == "bart":
        config = transformers.BartConfig(
            **_SIZES, decoder_start_token_id=END, forced_bos_token_id=0, forced_eos_token_id=END
        )
        return transformers.BartForConditionalGeneration(config)
    if family == "marian":
        config = transformers.MarianConfig(
            **_SIZES, decoder_start_token_id=PAD, forced_eos_token_id=END
        )
        made = transformers.MarianMTModel(config)
        made.generation_config.bad_words_ids = [[PAD]]
        return made
    config = transformers.T5Config(
        vocab_size=VOCAB_SIZE,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        eos_token_id=END,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
    )
    return transformers.T5ForConditionalGeneration(config)
