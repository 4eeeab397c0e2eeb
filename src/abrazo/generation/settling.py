"""What one call of `generate` does: its options over the model's own, checked against each other.

What the caller says wins over what the model's file says; where they cannot both hold, the file
gives way. What the caller says must fit together, or there is an error that lists all mistakes.
"""

import dataclasses
import logging
from typing import Literal

import numpy as np
import torch

from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig

logger = logging.getLogger("abrazo")

DEFAULT_NEW_TOKENS = 20
DEFAULT_TOP_K = 50

_NEUTRAL = {"temperature": (1.0,), "top_p": (1.0,), "min_p": (0.0,), "top_k": (0, DEFAULT_TOP_K)}
"""Options for drawing words, with the values that say nothing."""
_ELSEWHERE = {
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": None,
    "guidance_scale": 1.0,
    "penalty_alpha": 0.0,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "force_words_ids": None,
    "constraints": None,
    "watermarking_config": None,
}
"""Options of other libraries that change what is written, with the values that do not."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The options of a call, each decided."""

    config: GenerationConfig
    """The caller's options over the model's own."""
    num_beams: int
    num_return_sequences: int
    do_sample: bool
    seed: int
    early_stopping: bool | Literal["never"]
    length_penalty: float
    end_ids: tuple[int, ...]
    """Tokens that end a row."""
    pad_id: int
    """What fills rows up."""
    caller: frozenset[str]
    """Names of the options that the caller has set."""

    @property
    def rows_per_source(self) -> int:
        """Rows that go on from one prompt."""
        return self.num_beams if self.num_beams > 1 else self.num_return_sequences

    def limits(self, prompt_lengths: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the fewest and the most new tokens of each row.

        Args:
            prompt_lengths: (S,) tokens of each prompt.
            most: The most tokens of a row that the model can read.

        Raises:
            ConfigError: There is no room for a word, or more is asked for than fits.
        """
        lengths = np.asarray(prompt_lengths, dtype=np.int64)
        return _fewest(self, lengths, highest := _most(self, lengths, most)), highest


def settle(
    config: GenerationConfig, model_config: GenerationConfig, *, has_tokenizer: bool, streams: bool
) -> Plan:
    """Decide all options of a call.

    Args:
        config: What the caller says.
        model_config: What the model says of itself.
        has_tokenizer: Whether there is a tokenizer, to see stop strings.
        streams: Whether tokens are handed out as they come.

    Raises:
        ConfigError: Options contradict each other; all contradictions are listed.
    """
    caller = config.set_fields()
    inherited = model_config.set_fields()
    for one, other in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        if one in caller or other in caller:
            inherited.pop(one, None)
            inherited.pop(other, None)
        elif one in inherited and other in inherited:
            del inherited[one]
    merged = GenerationConfig(**{**inherited, **caller}, extra=model_config.extra)
    _tell_what_is_not_followed(merged)
    problems = _contradictions(merged, frozenset(caller), has_tokenizer, streams)
    if problems:
        raise ConfigError("\n".join(problems))
    seed = merged.seed
    pad = merged.pad_token_id
    if pad is None or pad < 0:
        pad = merged.end_ids[0] if merged.end_ids else 0
    return Plan(
        config=merged,
        num_beams=merged.num_beams or 1,
        num_return_sequences=merged.num_return_sequences or 1,
        do_sample=bool(merged.do_sample),
        seed=int(torch.randint(0, 2**62, ())) if seed is None else seed,
        early_stopping=False if merged.early_stopping is None else merged.early_stopping,
        length_penalty=1.0 if merged.length_penalty is None else merged.length_penalty,
        end_ids=merged.end_ids,
        pad_id=pad,
        caller=frozenset(caller),
    )


def _contradictions(
    merged: GenerationConfig, caller: frozenset[str], has_tokenizer: bool, streams: bool
) -> list[str]:
    """Return a line for each two options that cannot both hold."""
    problems = []
    beams, wanted = merged.num_beams or 1, merged.num_return_sequences or 1
    for short, long in (("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")):
        if {short, long} <= caller:
            problems.append(f"`{short}` and `{long}` say the same in two ways; give one of them.")
    if not merged.do_sample:
        for name, neutral in _NEUTRAL.items():
            value = getattr(merged, name)
            if name in caller and value not in neutral:
                problems.append(f"`{name}={value}` needs `do_sample=True`.")
    if beams == 1:
        for name in ("length_penalty", "early_stopping"):
            value = getattr(merged, name)
            if name in caller and value not in (1.0 if name == "length_penalty" else False,):
                problems.append(f"`{name}={value!r}` needs `num_beams` above 1.")
        if wanted > 1 and not merged.do_sample:
            problems.append(
                f"`num_return_sequences={wanted}` needs `do_sample=True`, or `num_beams={wanted}`."
            )
    elif wanted > beams:
        problems.append(
            f"`num_return_sequences` must be at most `num_beams` ({beams}), but is {wanted}."
        )
    if streams and (beams > 1 or wanted > 1):
        name, number = ("num_beams", beams) if beams > 1 else ("num_return_sequences", wanted)
        problems.append(f"A stream has one row at a time, so `{name}` must be 1, but is {number}.")
    if merged.stop_texts and not has_tokenizer:
        problems.append("`stop_strings` need `tokenizer=`, to see them in the text.")
    return problems + _impossible_tokens(merged) + _crossed_lengths(merged, caller)


def _impossible_tokens(merged: GenerationConfig) -> list[str]:
    """Return a line for each token that is both forced and forbidden."""
    forbidden = set(merged.suppress_tokens or ())
    first, last = merged.forced_bos_token_id, merged.forced_eos_token_id
    lasts = {last} if isinstance(last, int) else set(last or ())
    problems = []
    if first is not None and first in forbidden:
        problems.append(f"`forced_bos_token_id` ({first}) is one of `suppress_tokens`.")
    if lasts and lasts <= forbidden:
        problems.append(f"`forced_eos_token_id` ({last}) is one of `suppress_tokens`.")
    return problems


def _crossed_lengths(merged: GenerationConfig, caller: frozenset[str]) -> list[str]:
    problems = []
    for low, high in (("min_length", "max_length"), ("min_new_tokens", "max_new_tokens")):
        least, most = getattr(merged, low), getattr(merged, high)
        if least is not None and most is not None and least > most and low in caller:
            problems.append(f"`{low}` must be at most `{high}` ({most}), but is {least}.")
    return problems


def _tell_what_is_not_followed(merged: GenerationConfig) -> None:
    told = [
        f"`{name}={value!r}`"
        for name, value in merged.extra.items()
        if name in _ELSEWHERE and value not in (None, _ELSEWHERE[name])
    ]
    if told:
        logger.warning("The model asks for %s, which is not followed.", ", ".join(told))


def _most(plan: Plan, lengths: np.ndarray, most: int) -> np.ndarray:
    """Return (S,) the most new tokens of each row."""
    config, room = plan.config, most - lengths
    if (room < 1).any():
        row = int(room.argmin())
        raise ConfigError(
            f"Row {row} has {lengths[row]} tokens already; the model reads at most {most}."
        )
    if config.max_new_tokens is not None:
        wished = np.full_like(lengths, config.max_new_tokens)
    elif config.max_length is not None:
        wished = config.max_length - lengths
        if (wished < 1).any():
            row = int(wished.argmin())
            raise ConfigError(
                f"`max_length` ({config.max_length}) leaves no room for a word: row {row} has "
                f"{lengths[row]} tokens. Raise it, or give `max_new_tokens`."
            )
    else:
        wished = np.full_like(lengths, DEFAULT_NEW_TOKENS)
    if plan.caller & {"max_new_tokens", "max_length"} and (wished > room).any():
        row = int((wished - room).argmax())
        raise ConfigError(
            f"Row {row} has {lengths[row]} tokens, and up to {wished[row]} more are asked for, but "
            f"the model reads at most {most}. Lower `max_new_tokens` or shorten the prompt."
        )
    highest: np.ndarray = np.minimum(wished, room)
    return highest


def _fewest(plan: Plan, lengths: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return (S,) the fewest new tokens of each row."""
    config = plan.config
    if config.min_new_tokens is not None:
        least = np.full_like(lengths, config.min_new_tokens)
    else:
        least = np.maximum((config.min_length or 0) - lengths, 0)
    if plan.caller & {"min_new_tokens", "min_length"} and (least > most).any():
        row = int((least - most).argmax())
        raise ConfigError(
            f"Row {row} must get at least {least[row]} new tokens, but may have at most "
            f"{most[row]}. Lower `min_new_tokens` or `min_length`."
        )
    fewest: np.ndarray = np.minimum(least, most)
    return fewest
