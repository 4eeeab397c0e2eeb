"""`model.generate`: padded ids in, padded ids out, as in `transformers`.

Shapes: B rows, S padded columns, N texts for each row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import ConfigError, DataError
from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import complete, decodings_for, plan_for, write
from abrazo.generation.inputs import decoder_rows, given_rows
from abrazo.generation.logits import AllowedTokens
from abrazo.generation.masked import whole_rows
from abrazo.generation.streaming import Streamer, put_tokens, stream_tokens
from abrazo.heads.causal_lm import Seq2SeqLMHead
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.models.base import PretrainedModel
from abrazo.models.encoder import LeftToRightModel
from abrazo.tokenization.tokenizer import Tokenizer


def generate(
    model: PretrainedModel,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    *,
    streamer: Streamer | None = None,
    generation_config: GenerationConfig | None = None,
    decoder_input_ids: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    tokenizer: Tokenizer | None = None,
    prefix_allowed_tokens_fn: AllowedTokens | None = None,
    **options: Any,
) -> Tensor:
    """Write texts.

    Args:
        model: A model that guesses the next word; or one that guesses masked words, see
            `abrazo.generation.masked`.
        input_ids: (B, S) prompts, padded on either side; or what the encoder reads, in models that
            have one. None starts one row with `bos_token_id`.
        attention_mask: (B, S) with 1 at tokens and 0 at padding; None takes `pad_token_id` as
            padding, unless it also ends rows.
        streamer: Gets the prompt, and each token as soon as it is there.
        generation_config: Options; those that are not set are the model's own.
        decoder_input_ids: (B, S') what the decoder goes on from, in models with an encoder; the
            token it starts with is put before where it is missing.
        token_type_ids: (B, S) as some tokenizers give them; all of them 0.
        tokenizer: To see `stop_strings`.
        prefix_allowed_tokens_fn: From the number of a row and its tokens to those that may follow.
        options: Fields of `GenerationConfig`, which win over `generation_config`.

    Returns:
        (B * N, columns) ids: the prompts as they were given, then what was written, padded on the
        right; the texts of a row follow each other. What the decoder started with, in models with
        an encoder. In models that were made of encoders, what ends a prompt is taken off it, and
        stands behind what was written by filling masks.

    Raises:
        ConfigError: The model does not generate, or options are unknown or contradict each other.
        DataError: Shapes do not fit each other, or a row has no token.
    """
    config = GenerationConfig() if generation_config is None else generation_config
    if not isinstance(config, GenerationConfig):
        raise ConfigError(
            f"`generation_config` must be a `GenerationConfig`, but is {config!r:.60}. Options may "
            "also be given by name, as in `generate(input_ids, num_beams=4)`."
        )
    config = config.replace(**options)
    plan = plan_for(model, config, tokenizer=tokenizer, streams=streamer is not None)
    has_encoder = isinstance(model.head, Seq2SeqLMHead)
    if not has_encoder and decoder_input_ids is not None:
        raise DataError(f"{type(model).__name__} has no encoder; give the prompt as `input_ids`.")
    read = given_rows(input_ids, attention_mask, token_type_ids, plan, model)
    if isinstance(model, LeftToRightModel):
        read = read.without_ends(plan)
    prompts = decoder_rows(decoder_input_ids, plan, len(read.rows)) if has_encoder else read
    sources = read.rows if has_encoder else None
    complete(model, plan, prompts.rows, sources)
    decodings = decodings_for(
        model, plan, prompts.rows, sources, tokenizer, prefix_allowed_tokens_fn
    )
    if streamer is None:
        written = [text.ids for text in write(model, decodings)]
    else:
        if len(prompts.rows) > 1:
            raise ConfigError(f"A stream has one row at a time, but there are {len(prompts.rows)}.")
        tokens = stream_tokens(model, *decodings)
        written = [np.array(put_tokens(streamer, prompts.rows[0], tokens))]
    columns = prompts.columns
    if isinstance(model.head, MaskedLMHead):
        written = whole_rows(prompts.rows, written, tokenizer or model.tokenizer)
        columns = columns[:, :0]
    return _joined(columns, written, plan.pad_id).to(model.device)


def _joined(prompts: np.ndarray, written: Sequence[np.ndarray], pad: int) -> Tensor:
    """Put what was written behind the prompts, and pad."""
    longest = max(len(ids) for ids in written)
    behind = np.full((len(written), longest), pad, dtype=np.int64)
    for row, ids in zip(behind, written, strict=True):
        row[: len(ids)] = ids
    before = prompts.repeat(len(written) // len(prompts), axis=0)
    return torch.from_numpy(np.concatenate([before, behind], axis=1))
