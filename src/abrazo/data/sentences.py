"""Where sentences begin and end, in English and Chinese texts, by punctuation.

    [text[span] for span in sentence_spans("Dr. Li came. 他来了！很好。")]
    ["Dr. Li came.", "他来了！", "很好。"]

A full stop ends a sentence unless it belongs to an abbreviation, an initial or a number, or what
follows goes on in lower case. Chinese marks always end one. Marks and closing quotes stay with
their sentence; every character that is not a space belongs to exactly one sentence.
"""

import re
from collections.abc import Iterator

_CLOSING = "\"'”’»)\\]}）】」』》〉"
_BOUNDARY = re.compile(  # no run of marks or spaces is looked at twice, however long it is
    rf"(?P<chinese>[。！？｡][。！？｡!?…]*[{_CLOSING}]*)"
    rf"|(?P<marks>(?<![!?])[!?]++|(?<!\.)\.{{3,}}+|(?<!…)…++|(?<!\.)\.)[{_CLOSING}]*+(?=\s|$)"
    r"|(?P<line>\n\s*)"
)
_LAST_WORD = re.compile(r"[\w.'’-]+$")
_NEXT = re.compile(r"\s*[\"'“‘«(\[{]*(\S)")
_INDENT = 16
"""The most spaces before the number of an item in a list."""


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word for words in lists for word in words.split())


_TITLES = _words(
    "mr mrs ms mx dr prof rev fr sr jr st gen col sgt capt lt cmdr gov sen rep hon pres"
)
"""Abbreviations that stand before a name: a capital after them starts no sentence."""
_ABBREVIATIONS = _words(
    "e.g i.e etc vs cf al viz approx ca fig figs eq sec ch vol no nos pp p ed eds",
    "inc ltd co corp dept est ave blvd rd jan feb mar apr jun jul aug sep sept",
    "oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k u.n",
)
"""Abbreviations that go on in lower case or with a number, and else may end a sentence."""
_NEVER_END = _TITLES | {"e.g", "i.e", "cf", "vs", "fig", "figs", "eq", "viz", "approx", "ca"}
_BEFORE_NUMBERS = frozenset({"no", "nos", "p", "pp", "vol", "ch", "sec"})


def sentence_spans(text: str) -> list[slice]:
    """Return the sentences of a text as slices of it, without the spaces around them.

    A blank line ends a sentence; a single line break is a space, as in texts of fixed width.
    """
    spans, start = [], 0
    for end in _ends(text):
        span = _stripped(text, start, end)
        if span is not None:
            spans.append(span)
        start = end
    last = _stripped(text, start, len(text))
    return spans if last is None else [*spans, last]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [text[span] for span in sentence_spans(text)]


def _ends(text: str) -> Iterator[int]:
    has_capitals = text != text.lower()
    for found in _BOUNDARY.finditer(text):
        if found["line"] is not None:
            if found["line"].count("\n") > 1:
                yield found.end()
        elif found["chinese"] is not None or (
            (found["marks"] != "." or _ends_sentence(text, found.start("marks"), has_capitals))
            and not (has_capitals and _goes_on(text, found.end()))
        ):
            yield found.end()


def _ends_sentence(text: str, stop: int, has_capitals: bool) -> bool:
    """Tell whether the full stop at a place ends a sentence."""
    word = _LAST_WORD.search(text[max(0, stop - 40) : stop])
    last = "" if word is None else word[0]
    following = _NEXT.match(text, stop + 1)
    character = "" if following is None else following[1]
    name = last.lower().lstrip("'’-")
    if not character:
        return True
    if name in _NEVER_END:
        return False
    if len(last) == 1 and last.isupper() and last != "I":
        return False  # an initial, as in J. Smith
    if name in _BEFORE_NUMBERS and character.isdigit():
        return False
    if name in _ABBREVIATIONS and not (has_capitals and character.isupper()):
        return False
    before = text[max(0, stop - len(last) - _INDENT) : stop - len(last)].rstrip(" \t")
    return not (last.isdigit() and before[-1:] in ("", "\n"))  # the number of an item in a list


def _goes_on(text: str, end: int) -> bool:
    """Tell whether lower case after a mark shows that the sentence goes on."""
    following = _NEXT.match(text, end)
    return following is not None and following[1].islower()


def _stripped(text: str, start: int, end: int) -> slice | None:
    """Return the span without spaces at its ends, None if nothing is left."""
    part = text[start:end]
    inner = part.strip()
    if not inner:
        return None
    first = start + len(part) - len(part.lstrip())
    return slice(first, first + len(inner))
