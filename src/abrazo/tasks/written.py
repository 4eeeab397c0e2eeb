"""What models write, as tasks hand it on: rows to write for, and texts with how good they are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from abrazo.generation.rows import Generated
from abrazo.heads.base import IGNORED_LABEL
from abrazo.tasks.pieces import Piece, join_pieces
from abrazo.tokenization.tokenizer import Tokenizer

WRITTEN = "written"
"""Name of the output that holds what was written: for each request a list of `Generated`."""
COUNTS = ("loss", "right", "tokens")
"""What is counted of a row whose words are known: the sum of losses, tokens guessed, tokens."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One text to be written."""

    prompt: np.ndarray | None
    """Ids to go on from; None starts as the model starts."""
    source: np.ndarray | None = None
    """Ids for the encoder, in models that have one."""


@dataclasses.dataclass(frozen=True)
class WrittenText:
    """What was written for a row, and what is known of it."""

    texts: Sequence[str]
    """The texts, the best first; none where the row was only scored."""
    scores: Sequence[float | None]
    """In beam search, the mean log-probability of each text's words."""
    counts: np.ndarray | None = None
    """`COUNTS` of the row's own words, where they are known."""


def written_text(
    writings: Sequence[Sequence[Generated]],
    pieces: Sequence[Piece],
    tokenizer: Tokenizer,
    counts: np.ndarray | None,
) -> WrittenText:
    """Return what was written for all pieces of a text as whole texts.

    Args:
        writings: For each piece what was written, as many texts for each.
        pieces: The pieces of the source.
        tokenizer: Turns ids into text.
        counts: `COUNTS` of the row's own words, or None.
    """
    texts, scores = [], []
    for variant in zip(*writings, strict=True):
        parts = tokenizer.batch_decode(
            [writing.ids.tolist() for writing in variant], skip_special_tokens=True
        )
        texts.append(parts[0] if len(parts) == 1 else join_pieces(parts, pieces))
        known = [g.score for g in variant if g.score is not None]
        scores.append(sum(known) / len(known) if known else None)
    return WrittenText(texts, scores, counts)


def continuation(prompt: np.ndarray, new: np.ndarray, tokenizer: Tokenizer) -> str:
    """Return new tokens as text, with the space that is before the first of them.

    Args:
        prompt: Ids that the text goes on from.
        new: Ids that were written.
        tokenizer: Turns ids into text.
    """
    before = tokenizer.decode(prompt.tolist(), skip_special_tokens=True)
    whole = tokenizer.decode([*prompt.tolist(), *new.tolist()], skip_special_tokens=True)
    if isinstance(whole, str) and isinstance(before, str) and whole.startswith(before):
        return whole[len(before) :]
    return str(tokenizer.decode(new.tolist(), skip_special_tokens=True))


def counts_of(output: Mapping[str, Any]) -> np.ndarray | None:
    """Return `COUNTS` of what a head said of a row's own words, None where they are not known."""
    if "loss" not in output:
        return None
    return np.array([output["loss"].sum(), output["right"].sum(), len(output["loss"])])


def scored_tokens(logits: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
    """Return (N,) loss and whether it is right, for the tokens that have a target."""
    assert targets is not None
    wanted = targets[targets != IGNORED_LABEL].long()
    if len(logits) != len(wanted):
        logits = logits[targets != IGNORED_LABEL]
    loss = F.cross_entropy(logits.float(), wanted, reduction="none")
    return {"loss": loss, "right": logits.argmax(-1) == wanted}


def as_objects(items: Sequence[Any]) -> np.ndarray:
    """Return an array of objects, whatever they are."""
    array = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        array[place] = item
    return array
