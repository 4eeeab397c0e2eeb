"""Tags such as `B-PER` and the spans they stand for.

A tag is `O`, outside of every span, or a place in a span and the span's type: `B-PER` begins one,
`I-PER` goes on, and in BIOES `E-PER` ends one and `S-PER` is one by itself. `L`, `U` and `M` are
other letters for `E`, `S` and `I`. Tags without such a letter are types: each tag is a span of its
own (parts of speech), unless there is an `O` among them; then tags of one type that follow each
other are one span.

One rule reads every sequence, also those that break the scheme: a span goes on only at a tag that
is not `B` or `S`, has the type of the tag before it, and comes after neither `E` nor `S`. Anything
else that is not `O` begins a span. So an `I-PER` without a `B-PER` before it begins a span; this is
how conlleval and seqeval read tags.

Shapes: T tags of all rows, S spans, C tags there are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np

from abrazo.errors import ConfigError
from abrazo.metrics.base import BoolArray, FloatArray, IntArray

Scheme = Literal["BIO", "BIOES", "tags"]
"""How spans are written as tags; with `tags` each tag is a span of its own."""

OUTSIDE, BEGIN, INSIDE, END, SINGLE = range(5)
UNTAGGED = -100
"""What stands in place of a tag where there is none; losses and metrics pass over it."""
UNNAMED_TYPE = "entity"
"""The type of spans in data that have tags `B`, `I` and `O` alone."""

_LETTERS = {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
_WITH_LETTER = re.compile(r"([BIMELSU])[-_](.+)", re.DOTALL)
_GOES_ON = np.isin(range(5), (INSIDE, END))
_KINDS: dict[Scheme, tuple[tuple[str, int], ...]] = {
    "BIO": (("B-", BEGIN), ("I-", INSIDE)),
    "BIOES": (("B-", BEGIN), ("I-", INSIDE), ("E-", END), ("S-", SINGLE)),
    "tags": (("", SINGLE),),
}


class MixedTagsError(ConfigError):
    """Some tags have a letter in front, as `B-PER` has, and others have none."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        listed = ", ".join(f'"{name}"' for name in self.names[:10])
        super().__init__(
            f"Tags must be `O` or begin with `B-`, `I-`, `E-` or `S-`, as others here do, but "
            f"there is {listed}."
        )


@dataclass(frozen=True)
class TagSet:
    """The tags of a model or of a data set, in class order."""

    names: tuple[str, ...]
    """What each is called."""
    kinds: tuple[int, ...]
    """Place in the span: `OUTSIDE`, `BEGIN`, `INSIDE`, `END` or `SINGLE`."""
    types: tuple[str, ...]
    """The types of spans, in order of first appearance."""
    type_numbers: tuple[int, ...]
    """Number of each tag's type; -1 for `O`."""

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """Read the names of tags.

        Raises:
            MixedTagsError: Some have a letter in front and others, not being `O`, have none.
        """
        kinds, types = [], []
        bare = set(names) <= {"O", *_LETTERS}
        has_letters = bare or any(_WITH_LETTER.fullmatch(name) for name in names)
        without = INSIDE if "O" in names else SINGLE
        wrong = []
        for name in names:
            match = _WITH_LETTER.fullmatch(name)
            if name == "O":
                kind, of_type = OUTSIDE, None
            elif bare:
                kind, of_type = _LETTERS[name], UNNAMED_TYPE
            elif match:
                kind, of_type = _LETTERS[match[1]], match[2]
            else:
                kind, of_type = without, name
                if has_letters:
                    wrong.append(name)
            kinds.append(kind)
            types.append(of_type)
        if wrong:
            raise MixedTagsError(wrong)
        found = tuple(dict.fromkeys(of_type for of_type in types if of_type is not None))
        numbers = tuple(-1 if of_type is None else found.index(of_type) for of_type in types)
        return cls(tuple(names), tuple(kinds), found, numbers)

    @classmethod
    def of_types(cls, types: Sequence[str], scheme: Scheme) -> Self:
        """Return the tags that a scheme has for types of spans, `O` first."""
        names = [prefix + of_type for of_type in types for prefix, _ in _KINDS[scheme]]
        kinds = [kind for _ in types for _, kind in _KINDS[scheme]]
        numbers = [number for number, _ in enumerate(types) for _ in _KINDS[scheme]]
        if scheme != "tags":
            names, kinds, numbers = ["O", *names], [OUTSIDE, *kinds], [-1, *numbers]
        return cls(tuple(names), tuple(kinds), tuple(types), tuple(numbers))

    def completed(self) -> "TagSet":
        """Return the tags with those appended that are missing to write every type down.

        An `I-PER` without `B-PER` would be a tag for the rest of names that can never begin.
        """
        if not {BEGIN, END} & set(self.kinds):
            return self
        scheme: Scheme = "BIOES" if {END, SINGLE} & set(self.kinds) else "BIO"
        there = set(zip(self.kinds, self.type_numbers, strict=True))
        missing = [
            prefix + of_type
            for number, of_type in enumerate(self.types)
            for prefix, kind in _KINDS[scheme]
            if (kind, number) not in there
        ]
        outside = [] if "O" in self.names else ["O"]
        return TagSet.of_names([*self.names, *outside, *missing])

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def kind_of(self) -> IntArray:
        """(C,) place of each tag in its span."""
        return np.asarray(self.kinds, dtype=np.int64)

    @cached_property
    def type_of(self) -> IntArray:
        """(C,) number of each tag's type, -1 for `O`."""
        return np.asarray(self.type_numbers, dtype=np.int64)

    @cached_property
    def has_type(self) -> FloatArray:
        """(C, types + 1) with 1 at the type of each tag; the last column is that of `O`."""
        return np.eye(len(self.types) + 1)[self.type_of]

    @cached_property
    def tag_of(self) -> IntArray:
        """(types, 5) the tag for each type and place; the nearest there is where one lacks."""
        table = np.zeros((len(self.types), 5), dtype=np.int64)
        there = {
            (of_type, kind): number
            for number, (kind, of_type) in reversed(
                list(enumerate(zip(self.kinds, self.type_numbers, strict=True)))
            )
        }
        nearest = {
            BEGIN: (BEGIN, INSIDE, SINGLE),
            INSIDE: (INSIDE, BEGIN, SINGLE),
            END: (END, INSIDE, BEGIN, SINGLE),
            SINGLE: (SINGLE, BEGIN, INSIDE),
        }
        for number in range(len(self.types)):
            for kind, choices in nearest.items():
                found = (there[number, each] for each in choices if (number, each) in there)
                table[number, kind] = next(found, 0)
        return table

    @cached_property
    def outside(self) -> int | None:
        """The number of `O`; None where every word has a tag."""
        return self.names.index("O") if "O" in self.names else None

    @cached_property
    def may_follow(self) -> BoolArray:
        """(C, C) whether the second tag may come right after the first."""
        before, after = self.kind_of[:, None], self.kind_of[None, :]
        is_open = np.isin(before, (BEGIN, INSIDE))
        same = self.type_of[:, None] == self.type_of[None, :]
        goes_on = np.isin(after, (INSIDE, END))
        if not self.has_begin:
            return np.ones((len(self), len(self)), dtype=np.bool_)
        allowed: BoolArray = np.where(goes_on, is_open & same, True)
        if self.has_end:
            allowed &= ~is_open | (goes_on & same)
        return allowed

    @cached_property
    def may_start(self) -> BoolArray:
        """(C,) whether the tag may be the first of a row."""
        return np.full(len(self), True) & ~(self.has_begin & np.isin(self.kind_of, (INSIDE, END)))

    @cached_property
    def may_end(self) -> BoolArray:
        """(C,) whether the tag may be the last of a row."""
        return np.full(len(self), True) & ~(self.has_end & np.isin(self.kind_of, (BEGIN, INSIDE)))

    @property
    def is_plain(self) -> bool:
        """Whether every tag is a type."""
        return self.names == self.types

    @property
    def has_begin(self) -> bool:
        """Whether spans begin with a tag of their own."""
        return BEGIN in self.kinds

    @property
    def has_end(self) -> bool:
        """Whether spans end with a tag of their own."""
        return END in self.kinds


@dataclass(frozen=True)
class TagSpans:
    """Spans over places of a sequence, in order."""

    starts: IntArray
    """(S,) first place."""
    ends: IntArray
    """(S,) place after the last."""
    types: IntArray
    """(S,) number of the type."""

    def __len__(self) -> int:
        return len(self.starts)


def read_tag(name: str, types: Sequence[str], scheme: Scheme) -> tuple[int, int] | None:
    """Return the place in its span, and the number of the type, that one tag of a row stands for.

    Args:
        name: The tag.
        types: The types there are.
        scheme: How the data is tagged, which says what a tag without a letter is.

    Returns:
        None if it is no tag of these types.
    """
    if name in types:
        return (SINGLE if scheme == "tags" else INSIDE), types.index(name)
    if name == "O":
        return OUTSIDE, -1
    match = _WITH_LETTER.fullmatch(name)
    letter, of_type = (match[1], match[2]) if match else (name, UNNAMED_TYPE)
    if letter not in _LETTERS or of_type not in types:
        return None
    return _LETTERS[letter], types.index(of_type)


def find_spans(kinds: IntArray, types: IntArray, starts_row: BoolArray | None = None) -> TagSpans:
    """Return the spans that tags stand for, by the rule of this module.

    Args:
        kinds: (T,) the place in its span that each tag is, such as `BEGIN`.
        types: (T,) the number of its type.
        starts_row: (T,) whether a row begins at the place; spans do not cross into it. None takes
            all as one row.
    """
    begins = kinds != OUTSIDE
    ends = begins.copy()
    is_open = kinds[:-1] < END  # neither END nor SINGLE
    goes_on = _GOES_ON[kinds[1:]] & (types[1:] == types[:-1]) & is_open
    if starts_row is not None:
        goes_on &= ~starts_row[1:]
    begins[1:] &= ~goes_on
    ends[:-1] &= ~goes_on
    starts = begins.nonzero()[0]
    return TagSpans(starts, ends.nonzero()[0] + 1, types[starts])


def write_tags(spans: TagSpans, length: int, tag_set: TagSet) -> IntArray:
    """Return the (length,) tags that stand for spans which do not overlap.

    Places without a span are `O`, or `UNTAGGED` where there is no such tag.
    """
    outside = UNTAGGED if tag_set.outside is None else tag_set.outside
    tags = np.full(length, outside, dtype=np.int64)
    sizes = spans.ends - spans.starts
    table = tag_set.tag_of
    inside = np.repeat(spans.starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    tags[inside] = np.repeat(table[spans.types, INSIDE], sizes)
    tags[spans.ends - 1] = table[spans.types, END]
    tags[spans.starts] = np.where(sizes == 1, table[spans.types, SINGLE], table[spans.types, BEGIN])
    return tags
