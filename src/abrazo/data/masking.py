"""Hiding words for a model to guess: which tokens make a word, which are chosen, what they become.

Of the words 15% are chosen; of their tokens 80% become the mask token, 10% a random token and 10%
stay as they are. Source: Devlin et al. 2018, BERT, section 3.1, task 1.

Shapes: N tokens of one row, V vocabulary.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from abrazo.tokenization.tokenizer import Tokenizer

Int32 = npt.NDArray[np.int32]

IGNORED = -100
"""The target of tokens that were not chosen."""
NO_WORD = -1
"""The word of tokens that are never chosen: special ones."""
SHARE_MASKED = 0.8
"""Of the chosen tokens, the share that become the mask token."""
SHARE_RANDOM = 0.1
"""Of the chosen tokens, the share that become a random token."""

_WORD_STARTS = ("▁", "Ġ")


class Masker:
    """Chooses and hides words of rows of token ids."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        *,
        probability: float = 0.15,
        whole_words: bool = False,
        chinese_words: bool = False,
    ) -> None:
        """Look at the vocabulary once.

        Args:
            tokenizer: Says which tokens are special, and which go on with a word.
            probability: Share of the words that are chosen.
            whole_words: Whether all pieces of a word are chosen together.
            chinese_words: Whether this holds for Chinese words too; else each character is a word.

        Raises:
            ConfigError: The tokenizer has no mask token, or `probability` is no share.
            MissingExtraError: Chinese words are wished, but there is no segmenter.
        """
        if not 0 < probability <= 1:
            raise ConfigError(
                f"The share of masked words must be above 0 and at most 1, but is {probability}."
            )
        mask_id = tokenizer.mask_token_id
        if mask_id is None:
            raise ConfigError(
                "The tokenizer has no mask token, so no word can be masked. Add one: "
                '`tokenizer.add_special_tokens({"mask_token": "[MASK]"})`.'
            )
        self.mask_id, self.probability = int(mask_id), probability
        self.is_special = np.zeros(len(tokenizer), dtype=bool)  # (V,)
        self.is_special[tokenizer.all_special_ids] = True
        self.regular_ids = np.flatnonzero(~self.is_special).astype(np.int32)
        tokens = [""] * len(tokenizer)
        for token, number in tokenizer.get_vocab().items():
            tokens[number] = token
        kind = type(tokenizer.backend.model).__name__
        self.goes_on = np.zeros(len(tokens), dtype=bool)  # (V,)
        if whole_words or chinese_words:
            self.goes_on[:] = _pieces_that_go_on(tokens, is_wordpiece=kind == "WordPiece")
        self._cut = _chinese_segmenter() if chinese_words else None
        self._chinese = np.array(
            [token if _is_chinese_character(token) else "" for token in tokens]
        )

    def words(self, input_ids: npt.NDArray[np.integer]) -> Int32:
        """Return the number of each token's word (N,), `NO_WORD` for special tokens.

        Raises:
            DataError: An id is not in the vocabulary.
        """
        if len(input_ids) and not 0 <= input_ids.min() <= input_ids.max() < len(self.is_special):
            raise DataError(
                f"The ids must be from 0 to {len(self.is_special) - 1}, as the tokenizer has them, "
                f"but one is {input_ids.min() if input_ids.min() < 0 else input_ids.max()}. "
                "Tokenise with the model's own tokenizer."
            )
        special = self.is_special[input_ids]
        after_special = np.concatenate([[True], special[:-1]])[: len(special)]
        starts = ~special & (~self.goes_on[input_ids] | after_special)
        words: Int32 = np.where(special, NO_WORD, np.cumsum(starts) - 1).astype(np.int32)
        if self._cut is not None:
            _join_characters(words, self._chinese[input_ids], self._cut)
        return words

    def mask(
        self, input_ids: npt.NDArray[np.integer], words: Int32, generator: np.random.Generator
    ) -> tuple[Int32, Int32]:
        """Choose words and hide them.

        Args:
            input_ids: (N,) ids.
            words: (N,) as `words` gives them.
            generator: What is random comes from here, the same numbers for the same row.

        Returns:
            The ids with the chosen ones hidden, and as targets what the chosen ones were, (N,)
            each.
        """
        count = len(input_ids)
        is_chosen_word = generator.random(int(words.max(initial=NO_WORD)) + 1) < self.probability
        fate, which = generator.random((2, count))
        chosen = words != NO_WORD
        chosen[chosen] = is_chosen_word[words[chosen]]
        becomes_random = chosen & (fate >= SHARE_MASKED) & (fate < SHARE_MASKED + SHARE_RANDOM)
        masked = np.where(chosen & (fate < SHARE_MASKED), self.mask_id, input_ids).astype(np.int32)
        picks = (which[becomes_random] * len(self.regular_ids)).astype(np.int64)
        masked[becomes_random] = self.regular_ids[picks]
        return masked, np.where(chosen, input_ids, IGNORED).astype(np.int32)


def _pieces_that_go_on(tokens: list[str], *, is_wordpiece: bool) -> list[bool]:
    """Tell which tokens go on with the word of the token before."""
    if is_wordpiece:
        return [token.startswith("##") for token in tokens]
    return [
        not token.startswith(_WORD_STARTS)
        and any(character.isalnum() for character in token)
        and not any(is_chinese(character) for character in token)
        for token in tokens
    ]


def is_chinese(character: str) -> bool:
    """Tell whether a character is a Chinese one, in any of Unicode's blocks of them."""
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x323AF
        or 0xF900 <= code <= 0xFAFF
    )


def _is_chinese_character(token: str) -> bool:
    return len(token) == 1 and is_chinese(token)


def _chinese_segmenter() -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError as error:
        raise MissingExtraError("Masking whole Chinese words", "chinese") from error
    cut: Callable[[str], list[str]] = rjieba.cut
    return cut


def _join_characters(
    words: Int32, characters: npt.NDArray[np.str_], cut: Callable[[str], list[str]]
) -> None:
    """Give the characters of a Chinese word one number, in place."""
    is_character = np.concatenate([[False], characters != "", [False]])
    edges = np.flatnonzero(is_character[1:] != is_character[:-1]).reshape(-1, 2)
    for start, end in edges.tolist():
        place = start
        for word in cut("".join(characters[start:end].tolist())):
            words[place : place + len(word)] = words[place]
            place += len(word)
