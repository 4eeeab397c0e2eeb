"""Which special tokens a tokenizer puts around one text and around a pair, and their segments.

The arrangement is read off the tokenizer's own post-processor once, by encoding a stand-in text
with it; afterwards the special tokens are placed around truncated texts without asking the
shared object again.
"""

from dataclasses import dataclass

import tokenizers
from tokenizers.models import WordLevel

from abrazo.errors import TokenizerError
from abrazo.tokenization.native import NativeTokenizer, guarded


@dataclass(frozen=True)
class SpecialRun:
    """Special tokens that stand next to each other."""

    ids: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()
    type_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What stands before, between and after the texts of a row."""

    before: SpecialRun
    between: SpecialRun
    after: SpecialRun
    first_type: int
    second_type: int

    @property
    def num_special(self) -> int:
        """How many special tokens the frame adds."""
        return len(self.before.ids) + len(self.between.ids) + len(self.after.ids)

    def runs(self) -> tuple[SpecialRun, SpecialRun, SpecialRun]:
        """Return the special tokens in order."""
        return (self.before, self.between, self.after)


@dataclass(frozen=True)
class Template:
    """The frames of a tokenizer, for one text and for two, with special tokens and without."""

    single: Frame
    pair: Frame
    bare_single: Frame
    bare_pair: Frame

    def frame(self, *, pair: bool, special: bool) -> Frame:
        """Return the frame for one text or two."""
        if special:
            return self.pair if pair else self.single
        return self.bare_pair if pair else self.bare_single


def read_template(backend: NativeTokenizer) -> Template:
    """Read the frames off the post-processor of `backend`.

    Raises:
        TokenizerError: the post-processor cannot run, puts a text anywhere but once and in order,
            or adds ids that the vocabulary does not hold.
    """
    stand_in = tokenizers.Tokenizer(WordLevel({"x": 0}, unk_token="x"))
    if backend.post_processor is not None:
        stand_in.post_processor = backend.post_processor
    template = Template(
        single=_read_frame(stand_in, pair=False, special=True),
        pair=_read_frame(stand_in, pair=True, special=True),
        bare_single=_read_frame(stand_in, pair=False, special=False),
        bare_pair=_read_frame(stand_in, pair=True, special=False),
    )
    for run in (run for frame in (template.single, template.pair) for run in frame.runs()):
        for number, token in zip(run.ids, run.tokens, strict=True):
            if backend.id_to_token(number) is None:
                raise TokenizerError(
                    f"The post-processor adds `{token}` as id {number}, which the vocabulary "
                    f"of {backend.get_vocab_size()} tokens does not hold."
                )
    return template


def _read_frame(stand_in: NativeTokenizer, *, pair: bool, special: bool) -> Frame:
    row = guarded(
        "Running the post-processor of tokenizer.json",
        lambda: stand_in.encode("x", "x" if pair else None, add_special_tokens=special),
    )
    sequences = row.sequence_ids
    texts = [
        sequence
        for sequence, is_special in zip(sequences, row.special_tokens_mask, strict=True)
        if not is_special
    ]
    if texts != ([0, 1] if pair else [0]):
        raise TokenizerError(
            "The post-processor of tokenizer.json must hold each text once and in order; for "
            f"{'a pair' if pair else 'one text'} it holds {texts}."
        )
    first = sequences.index(0)
    second = sequences.index(1) if pair else first

    def run(start: int, stop: int) -> SpecialRun:
        return SpecialRun(
            tuple(row.ids[start:stop]),
            tuple(row.tokens[start:stop]),
            tuple(row.type_ids[start:stop]),
        )

    return Frame(
        before=run(0, first),
        between=run(first + 1, second),
        after=run(second + 1, len(sequences)),
        first_type=row.type_ids[first],
        second_type=row.type_ids[second],
    )
