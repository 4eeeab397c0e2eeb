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

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import ConfigError
from abrazo.generation.decoding import Decoding
from abrazo.generation.drawing import draw_keys
from abrazo.generation.logits import AllowedTokens, Rule, Suppressed, make_rules
from abrazo.generation.rows import Request
from abrazo.generation.settling import Plan
from abrazo.generation.stopping import StopStrings
from abrazo.heads.base import IGNORED_LABEL
from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.base import PretrainedModel
from abrazo.tokenization.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Gaps:
    """What stands for words that are not there yet."""

    mask: int
    """The token of a gap."""
    end: tuple[int, ...]
    """What stands behind the last gap."""


class Filling(Decoding):
    """Writes the texts of one batch by filling masks."""

    def __init__(
        self,
        model: PretrainedModel,
        requests: Sequence[Request],
        plan: Plan,
        rules: Sequence[Rule],
        stops: StopStrings | None,
        gaps: Gaps,
    ) -> None:
        """Prepare; see `Decoding`."""
        super().__init__(model, requests, plan, rules, stops)
        self._gaps = gaps

    def _new_cache(self, limit: int) -> Cache:
        """Return a cache that nothing is kept in."""
        return Cache(0, limit)

    @torch.inference_mode()
    def _read_prompts(self) -> Tensor:
        """Return (R, V) scores of the first gaps."""
        return self._score_gaps()

    @torch.inference_mode()
    def _go_on(self, origins: Tensor | None) -> Tensor:
        """Return (R, V) scores of the first gaps that are left."""
        staying = np.flatnonzero(~self.search.is_done)
        if len(staying) < self.rows.num_sources:
            self.rows.keep(staying)
            self.search.keep(staying)
        return self._score_gaps()

    def _score_gaps(self) -> Tensor:
        left = np.maximum(self.rows.most.repeat(self.rows.per_source) - self.rows.step, 1)
        ids, labels, lengths = [], [], []
        for row, gaps in zip(self.rows.ids.cpu().numpy(), left, strict=True):
            text = row[row >= 0]
            ids += [*text, *[self._gaps.mask] * int(gaps), *self._gaps.end]
            lengths.append(len(text) + int(gaps) + len(self._gaps.end))
            marks = np.full(lengths[-1], IGNORED_LABEL)
            marks[len(text)] = self._gaps.mask  # the head scores what has a label alone
            labels.append(marks)
        batch = PackedBatch(
            torch.from_numpy(np.array(ids, dtype=np.int64)),
            Layout(lengths),
            labels=torch.from_numpy(np.concatenate(labels)),
        )
        return self.model.answer_packed(batch.to(self.model.device))["logits"]


def fill_behind(
    model: PretrainedModel,
    prompts: Sequence[np.ndarray],
    plan: Plan,
    *,
    tokenizer: Tokenizer | None = None,
    prefix_allowed_tokens_fn: AllowedTokens | None = None,
) -> list[np.ndarray]:
    """Write behind texts.

    Args:
        model: A model that guesses masked words.
        prompts: The tokens of each text; where it ends with the token that ends texts, that is put
            behind what is written.
        plan: The options of the call. Lengths count the token that ends the text.
        tokenizer: Knows the mask and the token that ends texts; None takes the model's own.
        prefix_allowed_tokens_fn: From the number of a prompt and the tokens of its row to those
            that may follow.

    Returns:
        The tokens of each row, prompt and end included, `num_return_sequences` for each prompt.

    Raises:
        ConfigError: The tokenizer has no mask, or there is no room for a word.
        TokenizerError: The model has no tokenizer, and none is given.
    """
    tokenizer = model.tokenizer if tokenizer is None else tokenizer
    if tokenizer.mask_token_id is None:
        raise ConfigError(f"{type(tokenizer).__name__} has no mask, with which texts are written.")
    last = tokenizer.sep_token_id
    has_end = [len(prompt) > 1 and prompt[-1] == last for prompt in prompts]
    lengths = np.array([len(prompt) for prompt in prompts])
    fewest, most = plan.limits(lengths, model.max_length)
    texts = [prompt[:-1] if ends else prompt for prompt, ends in zip(prompts, has_end, strict=True)]
    keys = draw_keys(texts, None) if plan.do_sample else [0] * len(texts)
    stops = StopStrings(plan.config.stop_texts, tokenizer) if plan.config.stop_texts else None
    rules = make_rules(plan, prefix_allowed_tokens_fn, model.config.vocab_size)  # type: ignore[attr-defined]
    special = set(tokenizer.all_special_ids) - set(plan.end_ids)
    rules.append(Suppressed(sorted(special)))
    written: dict[int, list[np.ndarray]] = {}
    was_training = model.training
    model.eval()
    try:
        for ends in (True, False):
            end = (int(last),) if ends and last is not None else ()
            requests = [
                Request(i, text, None, int(fewest[i]), int(most[i]), keys[i])
                for i, text in enumerate(texts)
                if has_end[i] == ends
            ]
            if not requests:
                continue
            gaps = Gaps(tokenizer.mask_token_id, end)
            results = Filling(model, requests, plan, rules, stops, gaps).run()
            for number, found in results.items():
                written[number] = [
                    np.concatenate([texts[number], text.ids, np.array(end, dtype=np.int64)])
                    for text in found
                ]
    finally:
        model.train(was_training)
    return [row for number in sorted(written) for row in written[number]]
