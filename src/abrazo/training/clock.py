"""How fast a run is: time in steps, without that of evaluation and of saving."""

import contextlib
import time
from collections.abc import Iterator

from abrazo.training.state import TrainerState


class Clock:
    """Counts seconds, rows and tokens of one stretch of a run."""

    def __init__(self, state: TrainerState) -> None:
        self._taken = self._window_start = time.perf_counter()
        self._paused = 0.0
        self._rows, self._tokens = state.num_rows_seen, state.num_tokens_seen

    @property
    def elapsed(self) -> float:
        """Seconds since `take`, evaluation and saving included."""
        return time.perf_counter() - self._taken

    def take(self) -> float:
        """Return `elapsed`, and count from 0 again."""
        elapsed = self.elapsed
        self._taken += elapsed
        return elapsed

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Leave what is done inside out of the rates."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - began

    def rates(self, state: TrainerState) -> tuple[float, float]:
        """Return rows and tokens a second since the last call."""
        now = time.perf_counter()
        seconds = max(now - self._window_start - self._paused, 1e-9)
        rows, tokens = state.num_rows_seen - self._rows, state.num_tokens_seen - self._tokens
        self._window_start, self._paused = now, 0.0
        self._rows, self._tokens = state.num_rows_seen, state.num_tokens_seen
        return rows / seconds, tokens / seconds
