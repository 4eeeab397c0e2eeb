"""One word for each row at each step: the best one, or one that is drawn.

Shapes: S sources, R rows, V vocabulary, K candidates.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from abrazo.generation.best import best_words
from abrazo.generation.drawing import Warper, draw_one, row_keys
from abrazo.generation.logits import Rule
from abrazo.generation.rows import FinishReason, Generated, Rows
from abrazo.generation.settling import Plan
from abrazo.generation.stopping import StopStrings


class Search:
    """Base of the ways to find words."""

    def __init__(
        self, plan: Plan, rules: Sequence[Rule], rows: Rows, stops: StopStrings | None
    ) -> None:
        """Start.

        Args:
            plan: The options of the call.
            rules: What changes scores before words are taken.
            rows: The rows of the batch, with as many to a source as the plan says.
            stops: What finds stop strings, where there are some.
        """
        self.plan = plan
        self.rules = rules
        self.rows = rows
        self.stops = stops
        self.end_ids = np.array(plan.end_ids, dtype=np.int64)
        self.is_done = np.zeros(rows.num_sources, dtype=bool)
        """(S,) whether all texts of a source have ended."""
        self._warper = Warper(plan)

    def advance(self, logits: Tensor) -> Tensor | None:
        """Give each row one more token.

        Args:
            logits: (R, V) scores of what follows, which are used up.

        Returns:
            (R,) from which row each goes on, or None where each goes on from itself.
        """
        raise NotImplementedError

    def results(self, source: int) -> list[Generated]:
        """Return the texts of a source that is done, the best first where they have scores."""
        raise NotImplementedError

    def keep(self, sources: np.ndarray) -> None:
        """Go on with these sources alone, whose rows have been kept."""
        self.is_done = self.is_done[sources]

    def _changed(self, logits: Tensor) -> Tensor:
        """Return (R, V) logits after the rules."""
        applying = [rule for rule in self.rules if rule.applies(self.rows)]
        scores = logits if all(rule.only_forbids for rule in applying) else logits.float()
        for rule in applying:
            rule(scores, self.rows)
        return scores

    def _row_keys(self) -> np.ndarray:
        return row_keys(self.rows.keys, self.rows.per_source)


class WordByWord(Search):
    """Takes the best word of each row, or draws one."""

    def __init__(
        self, plan: Plan, rules: Sequence[Rule], rows: Rows, stops: StopStrings | None
    ) -> None:
        super().__init__(plan, rules, rows, stops)
        self._lengths = np.zeros(rows.num_rows, dtype=np.int64)  # (R,) new tokens; 0 while it runs
        self._reasons = np.full(rows.num_rows, "", dtype=object)  # (R,)

    def advance(self, logits: Tensor) -> Tensor | None:
        """Give each row one more token; see `Search.advance`."""
        scores = self._changed(logits)
        tokens = self._draw(scores) if self.plan.do_sample else best_words(scores, 1)[1][:, 0]
        self.rows.append(tokens)
        self._end(tokens.cpu().numpy())
        return None

    def _draw(self, scores: Tensor) -> Tensor:
        """Return (R,) words drawn from (R, V) scores."""
        words = None
        count = self._warper.num_candidates(scores.shape[-1])
        if self._warper.needs_order:
            scores, words, _ = best_words(scores, count)  # (R, K)
        likely = self._warper(scores.float())
        places = draw_one(likely, self.plan.seed, self.rows.step, self._row_keys())
        return places if words is None else words.gather(1, places[:, None])[:, 0]

    def _end(self, tokens: np.ndarray) -> None:
        """Note which rows have ended, and why."""
        is_full = self.rows.step >= self.rows.most.repeat(self.rows.per_source)
        self._note(is_full, "length")
        if self.stops is not None:
            others = np.flatnonzero((self._lengths == 0) | is_full)
            has_stop = np.zeros(len(tokens), dtype=bool)
            if len(others):
                has_stop[others] = self.stops.found_in(self.rows.new_ids.cpu().numpy()[others])
            self._note(has_stop, "stop_string")
        self._note(np.isin(tokens, self.end_ids), "eos")
        running = (self._lengths == 0).reshape(-1, self.rows.per_source)
        self.is_done = ~np.asarray(running.any(1))

    def _note(self, has_ended: np.ndarray, reason: FinishReason) -> None:
        """Note the last reason that holds at the step at which a row ends."""
        step = self.rows.step
        ends = has_ended & ((self._lengths == 0) | (self._lengths == step))
        self._lengths[ends] = step
        self._reasons[ends] = reason

    def results(self, source: int) -> list[Generated]:
        """Return the texts of a source, in the order they were drawn."""
        start = source * self.rows.per_source
        rows = range(start, start + self.rows.per_source)
        ids = self.rows.new_ids[rows.start : rows.stop].cpu().numpy()
        return [
            Generated(found[: self._lengths[row]].copy(), None, self._reasons[row])
            for row, found in zip(rows, ids, strict=True)
        ]

    def keep(self, sources: np.ndarray) -> None:
        """Go on with these sources alone."""
        super().keep(sources)
        per = self.rows.per_source
        rows = (sources[:, None] * per + np.arange(per)).reshape(-1)
        self._lengths, self._reasons = self._lengths[rows], self._reasons[rows]
