"""The loop that writes: prompts in, tokens out, in batches whose rows leave when they end.

    logits = read the prompts
    while rows are left:
        each row gets a token            # choosing.py, beams.py
        rows that have ended leave
        logits = read the new tokens     # one token a row; all before is in the cache

Shapes: S sources, R rows, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import ConfigError, DataError
from abrazo.generation.beams import BeamSearch
from abrazo.generation.choosing import Search, WordByWord
from abrazo.generation.config import GenerationConfig
from abrazo.generation.drawing import draw_keys
from abrazo.generation.logits import AllowedTokens, Rule, make_rules
from abrazo.generation.rows import Generated, Request, Rows
from abrazo.generation.settling import Plan, settle
from abrazo.generation.stopping import StopStrings
from abrazo.heads.causal_lm import CausalLMHead, Seq2SeqLMHead
from abrazo.heads.masked_lm import MaskedLMHead
from abrazo.layers.cache import Cache
from abrazo.layers.layout import Layout
from abrazo.layers.linear import pack_weights
from abrazo.layers.packing import PackedBatch
from abrazo.models.base import PretrainedModel
from abrazo.models.seq2seq import Seq2SeqBackbone
from abrazo.tokenization.tokenizer import Tokenizer

_MOST_ROWS = {"cpu": 512, "cuda": 1_024}
"""Rows of a batch, where the caller does not say."""
_MOST_TOKENS = {"cpu": 32_768, "cuda": 262_144}
"""Tokens that the rows of a batch are expected to have, prompts included."""
_LEAVE_AT = 8
"""Rows leave once one in so many has ended: those that stay must be moved together."""


class Decoding:
    """Writes the texts of one batch; iterating gives a moment after each token."""

    def __init__(
        self,
        model: PretrainedModel,
        requests: Sequence[Request],
        plan: Plan,
        rules: Sequence[Rule],
        stops: StopStrings | None,
    ) -> None:
        """Prepare.

        Args:
            model: A model that guesses the next word.
            requests: The prompts; either all or none of them have a source.
            plan: The options of the call.
            rules: What changes scores before words are taken.
            stops: What finds stop strings, where there are some.
        """
        pack_weights(model)
        self.model = model
        self.requests = requests
        self.rows = Rows(requests, plan.rows_per_source, model.device)
        kind: type[Search] = BeamSearch if plan.num_beams > 1 else WordByWord
        self.search = kind(plan, rules, self.rows, stops)
        self.results: dict[int, list[Generated]] = {}
        """The texts of each prompt that is done, by its number."""
        longest = max(len(request.prompt) for request in requests)
        limit = longest + max(request.most for request in requests)
        self._cache = self._new_cache(limit)
        self._layout: Layout | None = None

    def __iter__(self) -> Iterator[Rows]:
        logits = self._read_prompts()
        while True:
            origins = self._advance(logits)
            del logits  # the room is needed for the next ones
            yield self.rows
            if self.search.is_done.all():
                return
            logits = self._go_on(origins)

    def _new_cache(self, limit: int) -> Cache:
        """Return where what rows hold already is kept."""
        return self.model.backbone.new_cache(limit)

    def run(self) -> dict[int, list[Generated]]:
        """Write all texts and return them by the numbers of their prompts."""
        for _ in self:
            pass
        return self.results

    @torch.inference_mode()
    def _read_prompts(self) -> Tensor:
        """Return (R, V) scores of what follows the prompts."""
        batch = _packed([request.prompt for request in self.requests])
        sources = [request.source for request in self.requests if request.source is not None]
        batch.source = _packed(sources) if sources else None
        batch = batch.to(self.model.device)
        batch.past = self._cache
        logits = self.model.answer_packed(batch)["logits"]  # (S, V)
        self._require_numbers(logits)
        self._cache.repeat(self.rows.per_source)
        return logits.repeat_interleave(self.rows.per_source, 0)

    def _require_numbers(self, logits: Tensor) -> None:
        """Refuse scores of prompts, (S, V) or (R, V), that are not numbers."""
        wrong = logits.isnan().any(-1)
        if wrong.any():
            source = int(wrong.nonzero()[0]) * self.rows.num_sources // len(logits)
            raise DataError(
                f"Row {self.rows.numbers[source]}: the model's scores are not numbers (NaN). Its "
                "weights are damaged, or its precision is too small for them."
            )

    @torch.inference_mode()
    def _advance(self, logits: Tensor) -> Tensor | None:
        """Give each row a token, and take up the texts of sources that are done by it."""
        was_done = self.search.is_done
        origins = self.search.advance(logits)
        for source in np.flatnonzero(self.search.is_done & ~was_done).tolist():
            self.results[int(self.rows.numbers[source])] = self.search.results(source)
        return origins

    @torch.inference_mode()
    def _go_on(self, origins: Tensor | None) -> Tensor:
        """Return (R, V) scores of what follows the last tokens."""
        if origins is not None:
            self._cache.reorder(origins)
        is_done = self.search.is_done
        if is_done.sum() * _LEAVE_AT >= len(is_done):
            self._leave(np.flatnonzero(~is_done))
        if self._layout is None or self._layout.num_rows != self.rows.num_rows:
            self._layout = Layout(np.ones(self.rows.num_rows), self.model.device)
        batch = PackedBatch(self.rows.ids[:, -1], self._layout, past=self._cache)
        return self.model.answer_packed(batch)["logits"]

    def _leave(self, staying: np.ndarray) -> None:
        """Go on with these sources alone."""
        if len(staying) == self.rows.num_sources:
            return
        self.rows.keep(staying)
        self.search.keep(staying)
        self._cache.keep(torch.from_numpy(staying).to(self.model.device))


def generate_rows(
    model: PretrainedModel,
    prompts: Sequence[np.ndarray] | None,
    config: GenerationConfig | None = None,
    *,
    sources: Sequence[np.ndarray] | None = None,
    tokenizer: Tokenizer | None = None,
    prefix_allowed_tokens_fn: AllowedTokens | None = None,
    max_rows: int | None = None,
) -> list[Generated]:
    """Write texts for prompts of any lengths, in batches of like length.

    What is written to a prompt does not depend on the others.

    Args:
        model: A model that guesses the next word, or one that guesses masked words (see
            `abrazo.generation.masked`); its precision and device are used as they are.
        prompts: The tokens of each prompt. None starts with the token that the model's decoder
            starts with, in models with an encoder.
        config: The options of the call, over the model's own.
        sources: The tokens of each source, in models with an encoder.
        tokenizer: To see stop strings.
        prefix_allowed_tokens_fn: From the number of a prompt and the tokens of its row to those
            that may follow.
        max_rows: The most rows of a batch, each beam being one; None takes what suits the device.

    Returns:
        The texts in the order of the prompts, `num_return_sequences` for each.

    Raises:
        ConfigError: The model does not generate, or options contradict each other or its size.
        DataError: A prompt or a source is empty, or there are not as many of one as of the other.
    """
    plan = plan_for(model, config or GenerationConfig(), tokenizer=tokenizer)
    prompts, sources = complete(model, plan, prompts, sources)
    decodings = decodings_for(
        model, plan, prompts, sources, tokenizer, prefix_allowed_tokens_fn, max_rows
    )
    return write(model, decodings)


def write(model: PretrainedModel, decodings: Iterable[Decoding]) -> list[Generated]:
    """Write the texts of all batches, and return them in the order of the prompts."""
    results: dict[int, list[Generated]] = {}
    was_training = model.training
    model.eval()
    try:
        for decoding in decodings:
            results.update(decoding.run())
    finally:
        model.train(was_training)
    return [text for number in sorted(results) for text in results[number]]


def plan_for(
    model: PretrainedModel,
    config: GenerationConfig,
    *,
    tokenizer: Tokenizer | None,
    streams: bool = False,
) -> Plan:
    """Decide all options of a call; see `settle`.

    Raises:
        ConfigError: The model does not generate, or options contradict each other.
    """
    if not isinstance(model.head, CausalLMHead | MaskedLMHead):
        raise ConfigError(
            f"{type(model).__name__} does not generate: it has no head that guesses the next word. "
            "Load a model that has one, such as LlamaForCausalLM."
        )
    own: GenerationConfig = model.generation_config
    return settle(config, own, has_tokenizer=tokenizer is not None, streams=streams)


def prompt_ids(prompts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Return the ids of prompts, without the token that would end them."""
    encoded = tokenizer.encode_rows(prompts, max_length=None)
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    ids = np.split(encoded.input_ids, encoded.offsets[1:-1])
    return [each[:-1] if len(each) > 1 and int(each[-1]) in ends else each for each in ids]


def complete(
    model: PretrainedModel,
    plan: Plan,
    prompts: Sequence[np.ndarray] | None,
    sources: Sequence[np.ndarray] | None,
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray] | None]:
    """Return prompts and sources as the model takes them.

    Raises:
        ConfigError: It is not known what the decoder starts with.
        DataError: Prompts or sources are missing or too many, or one of them is empty.
    """
    name = type(model).__name__
    if isinstance(model.head, Seq2SeqLMHead) != (sources is not None):
        kind = "needs sources to read" if sources is None else "has no encoder for sources"
        raise DataError(f"{name} {kind}.")
    if prompts is None:
        if sources is None:
            raise DataError(f"{name} needs prompts.")
        prompts = [np.array([decoder_start(plan)])] * len(sources)
    if sources is not None and len(prompts) != len(sources):
        raise DataError(f"There are {len(sources)} sources, but {len(prompts)} prompts.")
    for what, rows in (("prompt", prompts), ("source", sources or ())):
        for number, row in enumerate(rows):
            if len(row) == 0:
                raise DataError(f"Row {number}: the {what} has no token.")
    return prompts, sources


def decoder_start(plan: Plan) -> int:
    """Return the token that the decoder starts with, in models with an encoder.

    Raises:
        ConfigError: It is not known.
    """
    start = plan.config.decoder_start_token_id
    start = plan.config.bos_token_id if start is None else start
    if start is None:
        raise ConfigError("Set `decoder_start_token_id`, the token that the decoder starts with.")
    return start


def decodings_for(
    model: PretrainedModel,
    plan: Plan,
    prompts: Sequence[np.ndarray],
    sources: Sequence[np.ndarray] | None,
    tokenizer: Tokenizer | None,
    allowed: AllowedTokens | None,
    max_rows: int | None = None,
) -> Iterator[Decoding]:
    """Yield one decoding for each batch of prompts of like length, the longest first."""
    if isinstance(model.head, MaskedLMHead):
        from abrazo.generation.masked import fillings_for  # it is built on this module

        yield from fillings_for(model, plan, prompts, tokenizer, allowed, max_rows)
        return
    requests = requests_for(model, plan, prompts, sources)
    rules, stops = rules_and_stops(model, plan, tokenizer, allowed)
    for batch in batches_of(requests, plan, model, max_rows):
        yield Decoding(model, batch, plan, rules, stops)


def requests_for(
    model: PretrainedModel,
    plan: Plan,
    prompts: Sequence[np.ndarray],
    sources: Sequence[np.ndarray] | None,
    num_behind: np.ndarray | int = 0,
) -> list[Request]:
    """Return what is to be written to each prompt.

    Args:
        model: The model.
        plan: The options of the call.
        prompts: The tokens of each prompt.
        sources: The tokens of each source, in models with an encoder.
        num_behind: (S,) tokens that will stand behind what is written; they count too.

    Raises:
        ConfigError: There is no room for a word, or more is asked for than fits.
    """
    lengths = np.array([len(prompt) for prompt in prompts]) + num_behind
    backbone = model.backbone
    readable = backbone.decoder if isinstance(backbone, Seq2SeqBackbone) else backbone
    fewest, most = plan.limits(lengths, readable.max_length)
    keys = draw_keys(prompts, sources) if plan.do_sample else [0] * len(prompts)
    return [
        Request(
            number,
            prompt,
            None if sources is None else sources[number],
            int(fewest[number]),
            int(most[number]),
            keys[number],
        )
        for number, prompt in enumerate(prompts)
    ]


def rules_and_stops(
    model: PretrainedModel, plan: Plan, tokenizer: Tokenizer | None, allowed: AllowedTokens | None
) -> tuple[list[Rule], StopStrings | None]:
    """Return what changes scores before words are taken, and what finds stop strings."""
    stops = None
    if plan.config.stop_texts and tokenizer is not None:
        stops = StopStrings(plan.config.stop_texts, tokenizer)
    return make_rules(plan, allowed, model.backbone.word_embeddings.num_embeddings), stops


def batches_of(
    requests: Sequence[Request], plan: Plan, model: PretrainedModel, max_rows: int | None
) -> Iterator[list[Request]]:
    """Cut requests into batches of like length that fit, the longest first."""
    per_source, device = plan.rows_per_source, model.device.type
    most_rows = max_rows or _MOST_ROWS.get(device, _MOST_ROWS["cpu"])
    most_tokens = _MOST_TOKENS.get(device, _MOST_TOKENS["cpu"])
    order = sorted(requests, key=lambda request: (-_length(request), request.number))
    batch: list[Request] = []
    for request in order:
        # the first one has the most tokens of its batch
        cost = _expected_tokens(batch[0] if batch else request) * per_source
        number = len(batch) + 1
        if batch and (number * per_source > most_rows or number * cost > most_tokens):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def _length(request: Request) -> int:
    return len(request.prompt) if request.source is None else len(request.source)


def _expected_tokens(request: Request) -> int:
    """Return how many tokens a row is expected to have: few become as long as they may."""
    expected = min(request.most, max(64, 2 * _length(request)))
    return len(request.prompt) + _length(request) + expected


def _packed(rows: Sequence[np.ndarray]) -> PackedBatch:
    """Return a batch of rows of tokens."""
    ids = torch.from_numpy(np.concatenate(rows).astype(np.int64))
    return PackedBatch(ids, Layout([len(row) for row in rows]))
