"""How many tokens of each text a row keeps, and the windows over a text that is too long."""

from typing import Literal

from abrazo.errors import TokenizerError

Strategy = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Side = Literal["right", "left"]
Span = tuple[int, int]


def kept_lengths(
    first: int, second: int | None, room: int, strategy: Strategy
) -> tuple[int, int | None]:
    """Return how many tokens of the first and the second text fit into `room` tokens.

    `longest_first` shortens the longer text down to the shorter one, then both alike; when the
    room is odd, the longer one keeps the odd token.

    Args:
        first: Tokens of the first text.
        second: Tokens of the second text; None for a row of one text.
        room: Tokens there is room for, special tokens already subtracted.
        strategy: Which text to shorten.

    Raises:
        TokenizerError: the text to be shortened does not hold enough tokens.
    """
    excess = first + (second or 0) - room
    if excess <= 0 or strategy == "do_not_truncate":
        return first, second
    if strategy == "only_first":
        return _shorten("first", first, excess), second
    if strategy == "only_second":
        if second is None:
            raise TokenizerError('`truncation="only_second"` needs a second text in every row.')
        return first, _shorten("second", second, excess)
    if second is None:
        return room, None
    shorter = min(first, second)
    low = min(shorter, room // 2)
    return (low, room - low) if first <= second else (room - low, low)


def _shorten(which: str, length: int, excess: int) -> int:
    if length < excess or (length == excess and length > 0):
        raise TokenizerError(
            f"{excess} tokens must go, but the {which} text has only {length} and the other one "
            'is not to be shortened. Raise `max_length`, or use `truncation="longest_first"`.'
        )
    return length - excess


def windows(length: int, size: int, stride: int, side: Side) -> list[Span]:
    """Return the windows of at most `size` tokens that cover `length` tokens, in order of use.

    Neighbours share `stride` tokens. With `side="left"` the first window is the text's end.

    Raises:
        TokenizerError: the windows cannot move on, as `stride` is not below `size`.
    """
    if length <= size:
        return [(0, length)]
    if stride >= size:
        raise TokenizerError(
            f"`stride` must be below the number of text tokens in a window ({size}), but is "
            f"{stride}. Lower `stride` or raise `max_length`."
        )
    step = size - stride
    count = 1 + -(-(length - size) // step)
    spans = [(start * step, min(start * step + size, length)) for start in range(count)]
    if side == "right":
        return spans
    return [(length - stop, length - start) for start, stop in spans]
