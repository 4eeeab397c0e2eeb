"""Writing with a model that fills gaps: masks stand behind a text and are filled from the left.

    [CLS] the film was [MASK] [MASK] [MASK] [SEP]
    [CLS] the film was good [MASK] [MASK] [SEP]
    [CLS] the film was good and [MASK] [SEP]

Words see what follows them, so nothing can be kept from step to step: each word costs a pass over
the whole row. The options of `generate` mean what they mean elsewhere, but such models end no row
by themselves: rows get as long as they may.

Source: Wang and Cho 2019, BERT has a Mouth, and It Must Speak, https://arxiv.org/abs/1902.04094.

Shapes: S sources, R rows, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import ConfigError
from abrazo.generation.decoding import Decoding, batches_of, requests_for, rules_and_stops
from abrazo.generation.logits import AllowedTokens, Rule, Suppressed
from abrazo.generation.rows import Request
from abrazo.generation.settling import Plan
from abrazo.generation.stopping import StopStrings
from abrazo.heads.base import IGNORED_LABEL
from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.base import PretrainedModel
from abrazo.tokenization.tokenizer import Tokenizer


class Filling(Decoding):
    """Writes the texts of one batch by filling masks."""

    def __init__(
        self,
        model: PretrainedModel,
        requests: Sequence[Request],
        plan: Plan,
        rules: Sequence[Rule],
        stops: StopStrings | None,
        tokenizer: Tokenizer,
    ) -> None:
        """Prepare; see `Decoding`. The tokenizer knows the mask and the token that ends texts."""
        super().__init__(model, requests, plan, rules, stops)
        self._mask = tokenizer.mask_token_id
        self._end = [] if tokenizer.sep_token_id is None else [tokenizer.sep_token_id]

    def _new_cache(self, limit: int) -> Cache:
        """Return a cache that nothing is kept in."""
        return Cache(0, limit)

    @torch.inference_mode()
    def _read_prompts(self) -> Tensor:
        """Return (R, V) scores of the first gaps."""
        logits = self._score_gaps()
        self._require_numbers(logits)
        return logits

    @torch.inference_mode()
    def _go_on(self, origins: Tensor | None) -> Tensor:
        """Return (R, V) scores of the first gaps that are left."""
        staying = np.flatnonzero(~self.search.is_done)
        if len(staying) < self.rows.num_sources:
            self.rows.keep(staying)
            self.search.keep(staying)
        return self._score_gaps()

    def _score_gaps(self) -> Tensor:
        """Return (R, V) scores of the first gap of each row."""
        left = np.maximum(self.rows.most.repeat(self.rows.per_source) - self.rows.step, 1)
        ids, labels, lengths = [], [], []
        for row, gaps in zip(self.rows.ids.cpu().numpy(), left, strict=True):
            text, masks = row[row >= 0], [self._mask] * int(gaps)
            has_room = len(text) + len(masks) < self.model.max_length
            tokens = [*text, *masks, *(self._end if has_room else [])]
            marks = np.full(len(tokens), IGNORED_LABEL)
            marks[len(text)] = self._mask  # the head scores what has a label alone
            ids += tokens
            labels.append(marks)
            lengths.append(len(tokens))
        batch = PackedBatch(
            torch.from_numpy(np.array(ids, dtype=np.int64)),
            Layout(lengths),
            labels=torch.from_numpy(np.concatenate(labels)),
        )
        return self.model.answer_packed(batch.to(self.model.device))["logits"]


def fillings_for(
    model: PretrainedModel,
    plan: Plan,
    prompts: Sequence[np.ndarray],
    tokenizer: Tokenizer | None,
    allowed: AllowedTokens | None,
    max_rows: int | None = None,
) -> Iterator[Filling]:
    """Yield one filling for each batch of prompts of like length, the longest first.

    Args:
        model: A model that guesses masked words.
        plan: The options of the call. Lengths count the token that ends the text, where a prompt
            has it.
        prompts: The tokens of each text, with the token that ends texts or without.
        tokenizer: Knows the mask and the token that ends texts; None takes the model's own.
        allowed: From the number of a prompt and the tokens of its row to those that may follow.
        max_rows: The most rows of a batch; None takes what suits the device.

    Raises:
        ConfigError: The tokenizer has no mask, or there is no room for a word.
        TokenizerError: The model has no tokenizer, and none is given.
    """
    tokenizer = model.tokenizer if tokenizer is None else tokenizer
    if tokenizer.mask_token_id is None:
        raise ConfigError(f"{type(tokenizer).__name__} has no mask, with which texts are written.")
    texts = [_without_end(prompt, tokenizer) for prompt in prompts]
    num_behind = np.array([len(p) - len(t) for p, t in zip(prompts, texts, strict=True)])
    requests = requests_for(model, plan, texts, None, num_behind)
    rules, stops = rules_and_stops(model, plan, tokenizer, allowed)
    rules.append(Suppressed(sorted(set(tokenizer.all_special_ids) - set(plan.end_ids))))
    for batch in batches_of(requests, plan, model, max_rows):
        yield Filling(model, batch, plan, rules, stops, tokenizer)


def whole_rows(
    prompts: Sequence[np.ndarray], written: Sequence[np.ndarray], tokenizer: Tokenizer
) -> list[np.ndarray]:
    """Put what was written behind the texts of prompts, and behind it what ended the prompt.

    Args:
        prompts: The tokens of each prompt.
        written: New tokens, as many rows of them for each prompt.
        tokenizer: Knows the token that ends texts.
    """
    times = len(written) // len(prompts)
    rows = []
    for number, new in enumerate(written):
        prompt = prompts[number // times]
        text = _without_end(prompt, tokenizer)
        rows.append(np.concatenate([text, new, prompt[len(text) :]]))
    return rows


def _without_end(prompt: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    return prompt[:-1] if len(prompt) > 1 and prompt[-1] == tokenizer.sep_token_id else prompt
