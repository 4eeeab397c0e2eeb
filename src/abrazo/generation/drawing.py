"""Words drawn by their probability, the same ones for a prompt alone and among others.

Every draw is a function of the seed, the tokens of the prompt, which of its equals in the call the
prompt is, which of its texts is written, and the step. So no generator's state goes from row to
row, and neither the batch a row is in nor its neighbours matter.

Shapes: R rows, K candidates of a row, the likeliest first.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.data.sampling import uniforms
from abrazo.generation.settling import DEFAULT_TOP_K, Plan

_PURPOSE = "words"


def draw_keys(prompts: Sequence[np.ndarray], sources: Sequence[np.ndarray] | None) -> list[int]:
    """Return a number for each prompt, of its tokens and of which of its equals it is."""
    seen: Counter[bytes] = Counter()
    keys = []
    for number, prompt in enumerate(prompts):
        text = np.ascontiguousarray(prompt, dtype=np.int64).tobytes()
        if sources is not None:
            text += b"|" + np.ascontiguousarray(sources[number], dtype=np.int64).tobytes()
        digest = hashlib.blake2b(text + b"#%d" % seen[text], digest_size=8).digest()
        seen[text] += 1
        keys.append(int.from_bytes(digest, "little") >> 1)
    return keys


def row_keys(keys: np.ndarray, per_source: int) -> np.ndarray:
    """Return (R,) numbers that tell apart the rows of (S,) sources."""
    steps = np.arange(per_source, dtype=np.int64) * 0x5851F42D4C957F2D
    mixed: np.ndarray = ((keys[:, None] + steps) & 0x7FFFFFFFFFFFFFFF).reshape(-1)
    return mixed


class Warper:
    """Makes the candidates to draw from out of scores: how many, and how likely each is.

    Sources: top k: Fan et al. 2018, section 5.1, https://arxiv.org/abs/1805.04833; top p: Holtzman
    et al. 2019, section 3.1, https://arxiv.org/abs/1904.09751; min p: Nguyen et al. 2024,
    https://arxiv.org/abs/2407.01082.
    """

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self.temperature = config.temperature or 1.0
        self.top_p = 1.0 if config.top_p is None else config.top_p
        self.min_p = config.min_p or 0.0
        self.at_least = len(plan.end_ids or (0,)) + 1 if plan.num_beams > 1 else 1
        """Candidates that are never left out: beams need one that does not end the row."""
        top_k = DEFAULT_TOP_K if config.top_k is None else config.top_k
        self.top_k = max(top_k, self.at_least) if top_k else 0

    def num_candidates(self, vocabulary: int) -> int:
        """Return K."""
        return min(self.top_k, vocabulary) if self.top_k else vocabulary

    @property
    def needs_order(self) -> bool:
        """Whether candidates must come by their score."""
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0 or self.at_least > 1

    def __call__(self, scores: Tensor) -> Tensor:
        """Return (R, K) scores after temperature, minus infinity where words are left out."""
        scores = scores / self.temperature
        if self.top_p < 1:
            shares = scores.softmax(-1)
            self._leave_out(scores, shares.cumsum(-1) - shares >= self.top_p)
        if self.min_p > 0:
            shares = scores.softmax(-1)
            self._leave_out(scores, shares < self.min_p * shares[:, :1])
        return scores

    def _leave_out(self, scores: Tensor, out: Tensor) -> None:
        out[:, : self.at_least] = False
        scores.masked_fill_(out, -torch.inf)


def draw_one(scores: Tensor, seed: int, step: int, keys: np.ndarray) -> Tensor:
    """Draw one candidate for each row.

    Args:
        scores: (R, K) logarithms of how likely candidates are, up to a constant.
        seed: The seed of the call.
        step: Which word of the text is drawn.
        keys: (R,) what tells the rows apart.

    Returns:
        (R,) places from 0 to K - 1.
    """
    chances = uniforms(seed, step, keys, 1, _PURPOSE)  # (R, 1)
    sums = scores.softmax(-1).cumsum(-1, dtype=torch.float64)
    marks = torch.from_numpy(chances).to(scores.device) * sums[:, -1:]
    # a mark that is rounded up to the whole sum still takes a candidate that can be drawn
    return (sums <= marks).sum(-1).clamp(max=(sums < sums[:, -1:]).sum(-1))


def draw_several(
    scores: np.ndarray, count: int, seed: int, step: int, keys: np.ndarray
) -> np.ndarray:
    """Draw several different candidates for each row.

    Source: Kool et al. 2019, section 2.3, https://arxiv.org/abs/1903.06059: the highest sums of
    log-probabilities and Gumbel noise are a sample without replacement.

    Args:
        scores: (R, K) logarithms of how likely candidates are, up to a constant.
        count: How many are drawn.
        seed: The seed of the call.
        step: Which word of the text is drawn.
        keys: (R,) what tells the rows apart.

    Returns:
        (R, count) places from 0 to K - 1, in no order.
    """
    chances = uniforms(seed, step, keys, scores.shape[1], _PURPOSE)
    noise = -np.log(-np.log(chances + 2.0**-54))
    drawn: np.ndarray = np.argsort(-(scores + noise), axis=1, kind="stable")[:, :count]
    return drawn
