"""What changes scores before words are taken: each option is a rule, and only those set are run.

Rules change (R, V) scores in place, in the order of `transformers`. Scores are logits where the
best word is taken or words are drawn, and log-probabilities in beam search.

Shapes: R rows, V vocabulary, C columns, N length of a sequence of tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import ConfigError
from abrazo.generation.config import as_ids
from abrazo.generation.rows import Rows
from abrazo.generation.settling import Plan

AllowedTokens = Callable[[int, Tensor], Sequence[int]]
"""From the number of a prompt and the tokens of one of its rows to the tokens that may follow."""


class Rule:
    """Base of all rules."""

    only_forbids: ClassVar[bool] = True
    """Whether it changes no score but to minus infinity."""

    def applies(self, rows: Rows) -> bool:
        """Tell whether there is something to do at this step."""
        return True

    def forbidden_to_all(self, rows: Rows) -> Tensor | None:
        """Return the tokens that it forbids in each row, or None where it does something else."""
        return None

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Change (R, V) scores of what follows."""
        raise NotImplementedError


class RepetitionPenalty(Rule):
    """Makes tokens that a row has already, in its prompt too, less likely.

    Source: Keskar et al. 2019, CTRL, section 4.1, https://arxiv.org/abs/1909.05858.
    """

    only_forbids = False

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Divide scores above 0, multiply those below."""
        ids = rows.ids
        ids = ids.where(ids >= 0, ids[:, -1:])  # what stands left of a prompt counts for nothing
        found = scores.gather(1, ids)
        found = torch.where(found < 0, found * self.penalty, found / self.penalty)
        scores.scatter_(1, ids, found)


class NoRepeatedNGrams(Rule):
    """Lets no sequence of N tokens come twice in a row, its prompt included."""

    def __init__(self, size: int) -> None:
        self.size = size

    def applies(self, rows: Rows) -> bool:
        """Tell whether a sequence can be complete."""
        return rows.num_columns >= self.size

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid what would complete a sequence again."""
        windows = rows.ids.unfold(1, self.size, 1)  # (R, C - N + 1, N)
        ending = rows.ids[:, rows.num_columns - self.size + 1 :]  # (R, N - 1)
        row, place = (windows[..., :-1] == ending[:, None]).all(-1).nonzero(as_tuple=True)
        last = windows[row, place, -1]
        is_token = last >= 0
        scores[row[is_token], last[is_token]] = -torch.inf


class BadWords(Rule):
    """Never writes certain sequences of tokens."""

    def __init__(self, words: Iterable[Sequence[int]], end_ids: Sequence[int]) -> None:
        sequences = [tuple(word) for word in words]
        single = [word[0] for word in sequences if len(word) == 1 and word[0] not in end_ids]
        self.single = torch.tensor(sorted(set(single)), dtype=torch.long)
        self.longer = [torch.tensor(word) for word in sequences if len(word) > 1]

    def forbidden_to_all(self, rows: Rows) -> Tensor | None:
        """Return the single tokens, where there are no longer sequences."""
        return None if self.longer else self.single

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid single tokens, and the last one of sequences of which a row has all others."""
        forbid(scores, self.single)
        for word in self.longer:
            if rows.num_columns < len(word) - 1:
                continue
            before = word[:-1].to(scores.device)
            has_begun = (rows.ids[:, -len(before) :] == before).all(-1)
            scores[has_begun, int(word[-1])] = -torch.inf


class Fewest(Rule):
    """Lets no row end before it has its fewest new tokens."""

    def __init__(self, end_ids: Sequence[int]) -> None:
        self.end_ids = torch.tensor(end_ids, dtype=torch.long)

    def applies(self, rows: Rows) -> bool:
        """Tell whether a row has too few."""
        return bool((rows.fewest > rows.step).any())

    def forbidden_to_all(self, rows: Rows) -> Tensor | None:
        """Return the end tokens, where all rows have too few."""
        return self.end_ids if (rows.fewest > rows.step).all() else None

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid the end tokens."""
        is_short = rows.fewest > rows.step
        ends = self.end_ids.to(scores.device)
        places = rows.of_rows(is_short).nonzero()  # (rows, 1)
        scores[places, ends] = -torch.inf


class Allowed(Rule):
    """Lets a function of the caller say what may follow."""

    only_forbids = False

    def __init__(self, allowed: AllowedTokens) -> None:
        self.allowed = allowed

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid everything else; where nothing is left, the function's words are as likely.

        Raises:
            ConfigError: The function allows nothing, or gives no ids of the vocabulary.
        """
        forbidden = torch.full_like(scores, -torch.inf)
        numbers = rows.numbers.repeat(rows.per_source).tolist()
        for number, row, places in zip(numbers, rows.ids, forbidden, strict=True):
            allowed = self.allowed(number, row[row >= 0])
            places[_checked(allowed, number, len(places))] = 0
        scores += forbidden
        is_stuck = scores.amax(-1).isneginf().unflatten(0, (-1, rows.per_source)).all(-1)
        stuck = is_stuck.repeat_interleave(rows.per_source)
        scores[stuck] = forbidden[stuck]


def _checked(allowed: Iterable[int], number: int, vocabulary: int) -> np.ndarray:
    """Return what a caller's function allows in a row, if that is at least one token."""
    given = allowed.tolist() if isinstance(allowed, Tensor) else allowed
    is_several = isinstance(given, Iterable) and not isinstance(given, str)
    tokens = np.array([*given] if is_several else [given])
    if not len(tokens):
        raise ConfigError(f"`prefix_allowed_tokens_fn` allows no token to follow in row {number}.")
    are_ids = tokens.ndim == 1 and tokens.dtype.kind in "iu"
    if not are_ids or tokens.min() < 0 or tokens.max() >= vocabulary:
        raise ConfigError(
            f"`prefix_allowed_tokens_fn` must return ids below {vocabulary}, the size of the "
            f"vocabulary, but in row {number} gives {allowed!r:.60}."
        )
    return tokens


class ForcedFirst(Rule):
    """Writes a certain token after a prompt of one token."""

    only_forbids = False

    def __init__(self, token: int) -> None:
        self.token = torch.tensor([token])

    def applies(self, rows: Rows) -> bool:
        """Tell whether there are such prompts, at the first step."""
        return rows.step == 0 and bool((rows.prompt_lengths == 1).any())

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid everything else."""
        _force(scores, rows.of_rows(rows.prompt_lengths == 1), self.token)


class ForcedLast(Rule):
    """Ends rows that have reached their most tokens with certain tokens."""

    only_forbids = False

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = torch.tensor(tokens, dtype=torch.long)

    def applies(self, rows: Rows) -> bool:
        """Tell whether this step is the last one of a row."""
        return bool((rows.most == rows.step + 1).any())

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid everything else."""
        _force(scores, rows.of_rows(rows.most == rows.step + 1), self.tokens)


class Suppressed(Rule):
    """Never writes certain tokens."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = torch.tensor(tokens, dtype=torch.long)

    def forbidden_to_all(self, rows: Rows) -> Tensor | None:
        """Return them."""
        return self.tokens

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid them."""
        forbid(scores, self.tokens)


class SuppressedFirst(Rule):
    """Does not write certain tokens first; what is forced to be first does not count as such."""

    def __init__(self, tokens: Sequence[int], *, follows_forced: bool) -> None:
        self.tokens = torch.tensor(tokens, dtype=torch.long)
        self.follows_forced = follows_forced

    def applies(self, rows: Rows) -> bool:
        """Tell whether this is the first step that is free for a row."""
        return bool(self._is_first(rows).any())

    def __call__(self, scores: Tensor, rows: Rows) -> None:
        """Forbid them."""
        places = rows.of_rows(self._is_first(rows)).nonzero()  # (rows, 1)
        scores[places, self.tokens.to(scores.device)] = -torch.inf

    def _is_first(self, rows: Rows) -> np.ndarray:
        first_free = np.where(self.follows_forced & (rows.prompt_lengths == 1), 1, 0)
        is_first: np.ndarray = first_free == rows.step
        return is_first


def forbid(scores: Tensor, tokens: Tensor) -> None:
    """Forbid some tokens in all rows."""
    scores.index_fill_(1, tokens.to(scores.device), -torch.inf)


def _force(scores: Tensor, rows: Tensor, tokens: Tensor) -> None:
    """Leave no other tokens to some rows."""
    places = rows.nonzero()  # (rows, 1)
    scores[places[:, 0]] = -torch.inf
    scores[places, tokens.to(scores.device)] = 0


def make_rules(plan: Plan, allowed: AllowedTokens | None, vocabulary: int) -> list[Rule]:
    """Return the rules that the options of a call need, in order.

    Raises:
        ConfigError: A token is not in the vocabulary.
    """
    config = plan.config
    _require_tokens(plan, vocabulary)
    rules: list[Rule] = []
    if config.repetition_penalty not in (None, 1.0):
        assert config.repetition_penalty is not None
        rules.append(RepetitionPenalty(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        rules.append(NoRepeatedNGrams(config.no_repeat_ngram_size))
    if config.bad_words_ids:
        rules.append(BadWords(config.bad_words_ids, plan.end_ids))
    if plan.end_ids and (config.min_length or config.min_new_tokens):
        rules.append(Fewest(plan.end_ids))
    if allowed is not None:
        rules.append(Allowed(allowed))
    if config.forced_bos_token_id is not None:
        rules.append(ForcedFirst(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        rules.append(ForcedLast(as_ids(config.forced_eos_token_id)))
    if config.suppress_tokens:
        rules.append(Suppressed(config.suppress_tokens))
    if config.begin_suppress_tokens:
        follows = config.forced_bos_token_id is not None
        rules.append(SuppressedFirst(config.begin_suppress_tokens, follows_forced=follows))
    return rules


def _require_tokens(plan: Plan, vocabulary: int) -> None:
    """Refuse tokens that the model does not have."""
    config = plan.config
    named = {
        "bad_words_ids": [token for word in config.bad_words_ids or () for token in word],
        "suppress_tokens": config.suppress_tokens or (),
        "begin_suppress_tokens": config.begin_suppress_tokens or (),
        "forced_bos_token_id": as_ids(config.forced_bos_token_id),
        "forced_eos_token_id": as_ids(config.forced_eos_token_id),
        "eos_token_id": plan.end_ids,
    }
    problems = [
        f"`{name}` must hold ids below {vocabulary}, the size of the vocabulary, not {max(tokens)}."
        for name, tokens in named.items()
        if tokens and max(tokens) >= vocabulary
    ]
    forbidden = {
        *named["suppress_tokens"],
        *(w[0] for w in config.bad_words_ids or () if len(w) == 1),
    }
    if len(forbidden) >= vocabulary:
        problems.append("`suppress_tokens` and `bad_words_ids` leave no token that may be written.")
    if problems:
        raise ConfigError("\n".join(problems))


def forbidden_by_all(rules: Sequence[Rule], rows: Rows) -> Tensor | None:
    """Return the tokens that rules forbid in each row, or None where one does something else."""
    tokens = [rule.forbidden_to_all(rows) for rule in rules]
    known = [some for some in tokens if some is not None]
    return torch.cat(known).unique() if known and len(known) == len(tokens) else None
