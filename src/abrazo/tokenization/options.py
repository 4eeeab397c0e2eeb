"""The options of a tokenizer call: their names as the field knows them, and what they come to."""

from dataclasses import dataclass
from typing import Literal, TypedDict

from abrazo.errors import ConfigError, one_of
from abrazo.tokenization.encoding import TensorType
from abrazo.tokenization.settings import SOME_LIMIT, TokenizerSettings
from abrazo.tokenization.truncation import Side, Strategy

PaddingStrategy = Literal["longest", "max_length", "do_not_pad"]
Padding = bool | PaddingStrategy
Truncation = bool | Strategy | None

_PADDINGS: dict[object, PaddingStrategy] = {
    True: "longest",
    False: "do_not_pad",
    "longest": "longest",
    "max_length": "max_length",
    "do_not_pad": "do_not_pad",
}
_TRUNCATIONS: dict[object, Strategy] = {
    True: "longest_first",
    False: "do_not_truncate",
    None: "do_not_truncate",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
    "do_not_truncate": "do_not_truncate",
}


class CallOptions(TypedDict, total=False):
    """The options of `Tokenizer.__call__`, for the methods that pass them on."""

    add_special_tokens: bool
    padding: Padding
    truncation: Truncation
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: Side | None
    return_tensors: TensorType | None
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_overflowing_tokens: bool
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool


@dataclass(frozen=True)
class Plan:
    """How one call shortens and pads its rows."""

    padding: PaddingStrategy
    truncation: Strategy
    max_length: int | None
    stride: int
    multiple: int | None
    padding_side: Side
    is_implied: bool
    """Whether rows are shortened only because `max_length` was given."""

    def padded_length(self, longest: int) -> int:
        """Return the length that rows are padded to, when the longest has `longest` tokens."""
        length = longest
        if self.padding == "max_length" and self.max_length is not None:
            length = self.max_length
        if self.multiple is not None:
            length = -(-length // self.multiple) * self.multiple
        return length


def make_plan(
    settings: TokenizerSettings,
    *,
    padding: Padding = False,
    truncation: Truncation = False,
    max_length: int | None = None,
    stride: int = 0,
    pad_to_multiple_of: int | None = None,
    padding_side: Side | None = None,
) -> Plan:
    """Work out what the options of a call come to for one tokenizer.

    Raises:
        ConfigError: lists all options that are wrong or do not go together.
    """
    problems = _option_problems(padding, truncation, max_length, stride, pad_to_multiple_of)
    if padding_side not in ("right", "left", None):
        problems.append(one_of("`padding_side`", padding_side, ("right", "left")))
    if problems:
        raise ConfigError("\n".join(problems))
    is_implied = max_length is not None and padding is False and truncation is None
    pads = _PADDINGS[padding]
    cuts: Strategy = "longest_first" if is_implied else _TRUNCATIONS[truncation]
    if max_length is None and settings.model_max_length > SOME_LIMIT:
        cuts = "do_not_truncate"
        pads = "do_not_pad" if pads == "max_length" else pads
    elif max_length is None and (cuts != "do_not_truncate" or pads == "max_length"):
        max_length = settings.model_max_length
    if pads != "do_not_pad" and "pad_token" not in settings.roles:
        raise ConfigError(
            "Padding needs a padding token, and this tokenizer has none. Name one, as in "
            "`tokenizer.pad_token = tokenizer.eos_token`."
        )
    if (
        pad_to_multiple_of is not None
        and max_length is not None
        and max_length % pad_to_multiple_of
        and pads != "do_not_pad"
        and cuts != "do_not_truncate"
    ):
        raise ConfigError(
            f"`max_length` must be a multiple of `pad_to_multiple_of` ({pad_to_multiple_of}) when "
            f"rows are shortened and padded, but is {max_length}."
        )
    side = padding_side or settings.padding_side
    return Plan(pads, cuts, max_length, stride, pad_to_multiple_of, side, is_implied)


def _option_problems(
    padding: object, truncation: object, max_length: object, stride: object, multiple: object
) -> list[str]:
    problems = []
    if not _is_choice(padding, _PADDINGS):
        choices = ("True", "False", "longest", "max_length", "do_not_pad")
        problems.append(one_of("`padding`", padding, choices))
    if not _is_choice(truncation, _TRUNCATIONS):
        strategies = ("longest_first", "only_first", "only_second", "do_not_truncate")
        problems.append(one_of("`truncation`", truncation, ("True", "False", *strategies)))
    for name, value, least in (
        ("max_length", max_length, 1),
        ("stride", stride, 0),
        ("pad_to_multiple_of", multiple, 1),
    ):
        if value is None and name != "stride":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.append(f"`{name}` must be a number of at least {least}, but is {value!r}.")
    return problems


def _is_choice(
    value: object, table: dict[object, PaddingStrategy] | dict[object, Strategy]
) -> bool:
    is_right_type = value is None or isinstance(value, (bool, str))
    return is_right_type and value in table
