"""Checks of regular expressions that come in tokenizer files, before anything compiles them.

A pattern such as `(a+)+$` takes time exponential in the text's length. The patterns of real
tokenizers never repeat a group of changing length, so what does is refused.
"""

import re
from dataclasses import dataclass

MAX_LENGTH = 4096
MAX_LITERAL_LENGTH = 65_536
"""For patterns that are a list of plain texts, such as the pieces that are never split."""
_LITERAL = re.compile(r"(?:[^\\()\[\]{}*+?.^$]|\\[^0-9A-Za-z])*")
MAX_REPEAT = 1000
MAX_EXPANSION = 10_000
MAX_DEPTH = 50
MAX_UNBOUNDED = 6


@dataclass
class _Group:
    """What is known about a group that is still open."""

    varies: bool = False
    expansion: int = 1
    largest: int = 1


@dataclass
class _Repeat:
    """A quantifier: how often, and where it ends."""

    low: int
    high: int | None
    end: int


def dangerous(pattern: str) -> str | None:
    """Return what makes a pattern too dangerous to run, or None.

    Flags repeats of a group that can itself match at several lengths, unless nothing follows that
    could fail; backreferences and recursion; and counted repeats that expand beyond reason.
    """
    longest = MAX_LITERAL_LENGTH if _LITERAL.fullmatch(pattern) else MAX_LENGTH
    if len(pattern) > longest:
        return f"it is {len(pattern)} characters long, over {longest}"
    return _Scanner(pattern).scan()


class _Scanner:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._groups = [_Group()]
        self._unbounded = 0

    def scan(self) -> str | None:
        place = 0
        while place < len(self._pattern):
            sign = self._pattern[place]
            if sign == "(":
                place = self._open(place)
                if len(self._groups) > MAX_DEPTH:
                    return f"its groups are nested over {MAX_DEPTH} deep"
                continue
            if sign == "|":
                self._groups[-1].varies = True
                self._unbounded = 0
                place += 1
                continue
            atom = _Group()
            if sign == ")":
                if len(self._groups) > 1:
                    atom = self._groups.pop()
                place += 1
            elif sign == "[":
                place = self._skip_class(place)
            elif sign == "\\":
                if self._refers_back(place):
                    return "it refers back to a group"
                place = self._skip_escape(place)
            else:
                place += 1
            problem, place = self._repeats(atom, place)
            if problem:
                return problem
        return None

    def _open(self, place: int) -> int:
        self._groups.append(_Group())
        place += 1
        if self._pattern.startswith("?", place):
            place += 1
            if self._pattern.startswith("<", place):
                place += 1
        return place

    def _refers_back(self, place: int) -> bool:
        return self._pattern[place + 1 : place + 2] in tuple("123456789kg")

    def _skip_escape(self, place: int) -> int:
        kind = self._pattern[place + 1 : place + 2]
        if kind in tuple("pPx") and self._pattern.startswith("{", place + 2):
            end = self._pattern.find("}", place)
            return len(self._pattern) if end < 0 else end + 1
        return place + 2

    def _skip_class(self, place: int) -> int:
        depth = 0
        while place < len(self._pattern):
            sign = self._pattern[place]
            if sign == "\\":
                place = self._skip_escape(place)
                continue
            place += 1
            if sign == "[":
                depth += 1
                for literal in ("^]", "]"):
                    if self._pattern.startswith(literal, place):
                        place += len(literal)
                        break
            elif sign == "]":
                depth -= 1
                if depth == 0:
                    return place
        return place

    def _repeats(self, atom: _Group, place: int) -> tuple[str | None, int]:
        """Read all quantifiers after an atom, and judge the atom with them."""
        expansion = max(atom.expansion, atom.largest)
        varies = atom.varies
        while (repeat := self._quantifier(place)) is not None:
            place = repeat.end
            high = repeat.high
            if high is None:
                self._unbounded += 1
                if self._unbounded > MAX_UNBOUNDED:
                    return f"over {MAX_UNBOUNDED} open repeats stand in a row", place
            if (high or repeat.low) > MAX_REPEAT:
                return f"it repeats over {MAX_REPEAT} times", place
            if varies and (high is None or high > 1) and not self._ends_branch(place):
                return "it repeats a group that itself matches at several lengths", place
            varies = varies or high != repeat.low
            expansion *= max(high or repeat.low, 1)
            if expansion > MAX_EXPANSION:
                return f"its nested repeats expand over {MAX_EXPANSION} times", place
        outer = self._groups[-1]
        outer.varies = outer.varies or varies
        outer.largest = max(outer.largest, expansion)
        return None, place

    def _ends_branch(self, place: int) -> bool:
        """Whether nothing follows in this alternative of the whole pattern, so nothing can fail."""
        return len(self._groups) == 1 and self._pattern[place : place + 1] in ("", "|")

    def _quantifier(self, place: int) -> _Repeat | None:
        sign = self._pattern[place : place + 1]
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if sign and sign in simple:
            low, high = simple[sign]
            end = place + 1
            if self._pattern[end : end + 1] in ("?", "+"):  # lazy, possessive
                end += 1
            return _Repeat(low, high, end)
        if sign != "{":
            return None
        end = self._pattern.find("}", place)
        low_text, comma, high_text = self._pattern[place + 1 : end].partition(",")
        digits = low_text + high_text
        if end < 0 or not digits or not digits.isdecimal() or len(digits) > 20:
            return None
        low = int(low_text or 0)
        return _Repeat(low, (int(high_text) if high_text else None) if comma else low, end + 1)
