"""Beam search: several beginnings of each text are followed, the most probable ones.

The results are those of `transformers`, also in what ends a search (`early_stopping`), while a
step moves some scores for each source only, and no vocabulary is sorted.

Shapes: S sources, B beams, R = S * B rows, V vocabulary, K candidates of a row, N candidates of a
source, the best first.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from abrazo.errors import DataError
from abrazo.generation.best import best_words, log_norms
from abrazo.generation.choosing import Search
from abrazo.generation.drawing import draw_several
from abrazo.generation.logits import Rule, forbidden_by_all
from abrazo.generation.rows import FinishReason, Generated, Rows
from abrazo.generation.settling import Plan
from abrazo.generation.stopping import StopStrings

_NEVER = np.float32(-1e9)
"""The score of what must not be taken."""


class BeamSearch(Search):
    """Follows the beginnings with the highest sums of log-probabilities."""

    def __init__(
        self, plan: Plan, rules: Sequence[Rule], rows: Rows, stops: StopStrings | None
    ) -> None:
        super().__init__(plan, rules, rows, stops)
        self.num_beams = plan.num_beams
        shape = (rows.num_sources, plan.num_beams)
        self._running = np.full(shape, _NEVER)  # sums of log-probabilities
        self._running[:, 0] = 0  # the beams of a source are equal at first
        self._found = np.full(shape, _NEVER)  # scores of texts that have ended, the best first
        self._texts: list[list[tuple[np.ndarray, FinishReason]]] = [[] for _ in range(shape[0])]
        self._renormalises = bool(plan.config.renormalize_logits)
        # the end tokens of all beams leave as many candidates as there are beams
        self._num_candidates = max(2, 1 + len(plan.end_ids)) * plan.num_beams

    def advance(self, logits: Tensor) -> Tensor | None:
        """Give each row one more token; see `Search.advance`."""
        scores, parents, tokens = self._candidates(logits)  # (S, N) each
        has_ended, reasons = self._ends(parents, tokens)
        self._collect(scores, parents, tokens, has_ended, reasons)
        # those that have ended make place for the next best
        order = np.argsort(has_ended, axis=1, kind="stable")[:, : self.num_beams]
        self._running = _take(scores, order) + _take(has_ended, order) * _NEVER
        self.is_done = self.is_done | self._cannot_improve() | has_ended.all(1)
        starts = np.arange(len(scores))[:, None] * self.num_beams
        origins = (_take(parents, order) + starts).reshape(-1)
        return self._go_on(origins, _take(tokens, order).reshape(-1))

    def _go_on(self, origins: np.ndarray, tokens: np.ndarray) -> Tensor | None:
        """Give (R,) tokens to what were the rows `origins`."""
        rows = self.rows
        changed = None
        if not np.array_equal(origins, np.arange(len(origins))):
            changed = torch.from_numpy(origins).to(rows.ids.device)
            rows.reorder(changed)
        rows.append(torch.from_numpy(tokens).to(rows.ids.device))
        return changed

    def _candidates(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sums of log-probabilities, the beam and the token of (S, N) candidates."""
        values, words = self._best(logits)  # (R, K) each
        count = values.shape[1]
        sums = values.reshape(-1, self.num_beams, count) + self._running[:, :, None]
        flat = sums.reshape(len(sums), -1)  # (S, B * K)
        number = min(self._num_candidates, flat.shape[1])
        if self.plan.do_sample:
            chosen = draw_several(
                flat, number, self.plan.seed, self.rows.step, self._row_keys()[:: self.num_beams]
            )
            chosen = _take(chosen, np.argsort(-_take(flat, chosen), axis=1, kind="stable"))
        else:
            chosen = np.argsort(-flat, axis=1, kind="stable")[:, :number]
        tokens = _take(words.reshape(len(sums), -1), chosen)
        return _take(flat, chosen), chosen // count, tokens

    def _best(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return log-probabilities and tokens of the (R, K) best words."""
        count = min(self._num_candidates, logits.shape[-1])
        if self.plan.do_sample:
            count = self._warper.num_candidates(logits.shape[-1])
        rules = [rule for rule in self.rules if rule.applies(self.rows)]
        if all(rule.only_forbids for rule in rules):
            values, words = self._best_allowed(logits, count, rules)
        else:
            scores = logits.float().log_softmax(-1)
            for rule in rules:
                rule(scores, self.rows)
            values, words, norms = best_words(scores, count, with_norm=self._renormalises)
            values = values if norms is None else values - norms[:, None]
        if self.plan.do_sample:
            values = self._warper(values)
            values = values.log_softmax(-1) if self._renormalises else values
        return values.cpu().numpy(), words.cpu().numpy()

    def _best_allowed(
        self, logits: Tensor, count: int, rules: Sequence[Rule]
    ) -> tuple[Tensor, Tensor]:
        """Return the same where rules only forbid words.

        Words that are forbidden have a share in the sum of probabilities all the same. Where they
        are the same in each row, it is added afterwards, which saves a pass over all scores.
        """
        norms, share = None, None
        if rules and not self._renormalises:
            common = forbidden_by_all(rules, self.rows)
            if common is None:
                norms = log_norms(logits)
            else:
                share = logits[:, common.to(logits.device)].float().logsumexp(-1)
        for rule in rules:
            rule(logits, self.rows)
        values, words, allowed = best_words(logits, count, with_norm=norms is None)
        if allowed is not None:
            norms = allowed if share is None else torch.logaddexp(allowed, share)
        assert norms is not None
        return values - norms[:, None], words

    def _ends(self, parents: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tell which (S, N) candidates end there, and why."""
        is_full = np.broadcast_to((self.rows.step + 1 >= self.rows.most)[:, None], tokens.shape)
        reasons = np.where(is_full, "length", "").astype(object)
        if self.stops is not None:
            has_stop = self._have_stop(parents, tokens)
            reasons[has_stop] = "stop_string"
        reasons[np.isin(tokens, self.end_ids)] = "eos"
        has_ended: np.ndarray = reasons != ""
        return has_ended, reasons

    def _have_stop(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Tell which (S, N) candidates have got a stop string."""
        assert self.stops is not None
        starts = np.arange(len(parents))[:, None] * self.num_beams
        before = self.rows.new_ids.cpu().numpy()[(parents + starts).reshape(-1)]
        rows = np.concatenate([before, tokens.reshape(-1, 1)], axis=1)
        return self.stops.found_in(rows).reshape(tokens.shape)

    def _collect(
        self,
        scores: np.ndarray,
        parents: np.ndarray,
        tokens: np.ndarray,
        has_ended: np.ndarray,
        reasons: np.ndarray,
    ) -> None:
        """Keep the best texts that have ended: those among the best B candidates of a source."""
        counted = has_ended[:, : self.num_beams] & ~self.is_done[:, None]
        if not counted.any():
            return
        penalty = np.float32((self.rows.step + 1) ** self.plan.length_penalty)
        ids = self.rows.new_ids.cpu().numpy()
        for source in np.flatnonzero(counted.any(1)).tolist():
            texts = self._texts[source]
            together = [*zip(self._found[source, : len(texts)], texts, strict=True)]
            for place in np.flatnonzero(counted[source]).tolist():
                row = source * self.num_beams + parents[source, place]
                text = np.append(ids[row], tokens[source, place])
                together.append((scores[source, place] / penalty, (text, reasons[source, place])))
            together.sort(key=lambda scored: -scored[0])
            best = together[: self.num_beams]
            self._found[source, : len(best)] = [score for score, _ in best]
            self._texts[source] = [text for _, text in best]

    def _cannot_improve(self) -> np.ndarray:
        """Tell which sources are done, as `early_stopping` has it."""
        is_full = np.array([len(texts) == self.num_beams for texts in self._texts])
        if self.plan.early_stopping is True:
            return is_full
        power = self.plan.length_penalty
        lengths = np.full(len(is_full), self.rows.step + 1.0)
        if self.plan.early_stopping == "never" and power > 0:
            lengths = self.rows.most  # longer texts have higher scores then
        best = self._running[:, 0] / (lengths**power).astype(np.float32)
        cannot: np.ndarray = is_full & (best <= self._found.min(1))
        return cannot

    def results(self, source: int) -> list[Generated]:
        """Return the best texts of a source, with their scores.

        Raises:
            DataError: There are none, as happens where scores are not numbers.
        """
        wanted = self.plan.num_return_sequences
        if len(self._texts[source]) < wanted:
            raise DataError(
                f"Row {self.rows.numbers[source]}: beam search found no text; the model's scores "
                "are not numbers (NaN)."
            )
        scored = zip(self._texts[source][:wanted], self._found[source].tolist(), strict=False)
        return [Generated(text, score, reason) for (text, reason), score in scored]

    def keep(self, sources: np.ndarray) -> None:
        """Go on with these sources alone."""
        super().keep(sources)
        self._running, self._found = self._running[sources], self._found[sources]
        self._texts = [self._texts[source] for source in sources.tolist()]


def _take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, places, axis=1)
