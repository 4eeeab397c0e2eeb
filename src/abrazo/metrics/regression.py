"""Metrics of rows that have numbers as labels.

Shapes: N rows, D numbers per row.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from abrazo.errors import ConfigError, DataError
from abrazo.metrics.base import Array, FloatArray, Metric, State, require_fit, require_rows

SPEARMAN_ROWS = 1_000_000
"""So many rows are kept for the rank correlation, which needs all of them at once."""


class RegressionMetrics(Metric):
    """Squared and absolute errors, explained variance, and both correlations.

    Errors and Pearson's correlation are exact, from running moments (Chan, Golub and LeVeque 1979,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"). Spearman's is
    exact for up to `spearman_rows` rows; beyond that it is that of a fair sample of so many, with a
    standard error of at most about 1 / sqrt(`spearman_rows`), 0.001 as it stands. Several numbers
    per row are averaged. A correlation with what never varies is 0; `r2` is then 1 if all is
    predicted exactly and else 0, as in scikit-learn. With a single row all three are NaN.
    """

    _moments: dict[str, FloatArray]

    def __init__(self, outputs: int = 1, *, spearman_rows: int = SPEARMAN_ROWS) -> None:
        """Prepare for `outputs` numbers per row."""
        if outputs < 1 or spearman_rows < 2:
            raise ConfigError(
                "`outputs` must be at least 1 and `spearman_rows` at least 2, but they are "
                f"{outputs} and {spearman_rows}."
            )
        self.outputs = outputs
        self.spearman_rows = spearman_rows
        self.better = {
            "mse": "lower",
            "rmse": "lower",
            "mae": "lower",
            "r2": "higher",
            "pearson": "higher",
            "spearman": "higher",
        }
        self.reset()

    def update(self, predictions: Array, labels: Array) -> None:
        """Count the rows of one batch.

        Args:
            predictions: (N, D), or (N,) where D is 1.
            labels: (N, D), or (N,) where D is 1.

        Raises:
            DataError: Shapes differ, or a number is NaN or infinite.
        """
        given, truth = self._columns("prediction", predictions), self._columns("label", labels)
        if given.shape != truth.shape:
            raise DataError(f"{len(given)} predictions cannot be compared to {len(truth)} labels.")
        pairs = np.stack([given, truth])  # (2, N, D)
        self._add_moments(_moments(pairs))
        first = int(self._rows - pairs.shape[1])
        self._keep(pairs, scattered(np.arange(first, self._rows, dtype=np.uint64)))

    def merge(self, other: Self) -> None:
        """Add what `other` has counted; a `ConfigError` unless both were made alike."""
        if (other.outputs, other.spearman_rows) != (self.outputs, self.spearman_rows):
            raise ConfigError("Metrics can be merged only with equal `outputs` and rows kept.")
        self._add_moments(other._moments)
        self._keep(*other._sample())

    def compute(self) -> dict[str, float]:
        """Return the figures for all rows so far."""
        rows = self._rows
        require_rows(rows)
        moments = self._moments
        mse = moments["squared_error"] / rows
        figures = {
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mae": moments["absolute_error"] / rows,
            "r2": self._explained(),
            "pearson": self._pearson(),
            "spearman": self._spearman(),
        }
        return {name: float(np.mean(figure)) for name, figure in figures.items()}

    def state_dict(self) -> State:
        """Return the moments and the rows kept."""
        pairs, keys = self._sample()
        return {
            **{k: array.copy() for k, array in self._moments.items()},
            "kept": pairs,
            "keys": keys,
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the place of the moments and the rows kept."""
        moments = {name: array for name, array in state.items() if name not in ("kept", "keys")}
        require_fit(self._moments, moments)
        self.reset()
        self._moments = {name: array.astype(np.float64) for name, array in moments.items()}
        self._keep(state["kept"].astype(np.float64), state["keys"].astype(np.uint64))

    def reset(self) -> None:
        """Forget all rows."""
        self._moments = _moments(np.empty((2, 0, self.outputs)))
        self._kept: list[FloatArray] = []
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._num_kept = 0

    @property
    def _rows(self) -> int:
        return int(self._moments["rows"])

    def _columns(self, what: str, given: Array) -> FloatArray:
        """Return (N, D) numbers."""
        values = np.asarray(given).astype(np.float64)
        if values.ndim == 1 and self.outputs == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != self.outputs:
            raise DataError(
                f"Every {what} must be {self.outputs} numbers, but their shape is {values.shape}."
            )
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(-1))[0])
            raise DataError(f"Every {what} must be a number, but row {row} is {values[row]}.")
        return values

    def _add_moments(self, more: Mapping[str, FloatArray]) -> None:
        """Join two sets of moments about their own means into one about the common mean."""
        old = self._moments
        rows = old["rows"] + more["rows"]
        if not more["rows"]:
            return
        gap = more["mean"] - old["mean"]  # (2, D)
        weight = old["rows"] * more["rows"] / rows
        self._moments = {
            "rows": rows,
            "mean": old["mean"] + gap * (more["rows"] / rows),
            "spread": old["spread"] + more["spread"] + gap**2 * weight,
            "together": old["together"] + more["together"] + gap[0] * gap[1] * weight,
            "squared_error": old["squared_error"] + more["squared_error"],
            "absolute_error": old["absolute_error"] + more["absolute_error"],
            "least": np.minimum(old["least"], more["least"]),
            "most": np.maximum(old["most"], more["most"]),
        }

    def _explained(self) -> FloatArray:
        """Return the share of the labels' variance explained, (D,)."""
        if self._rows < 2:
            return np.full(self.outputs, np.nan)
        errors = self._moments["squared_error"]
        constant = self._constant()[1]
        spread = np.where(constant, 1.0, self._moments["spread"][1])
        return np.where(constant, np.where(errors == 0, 1.0, 0.0), 1 - errors / spread)

    def _pearson(self) -> FloatArray:
        """Return the linear correlation, (D,)."""
        if self._rows < 2:
            return np.full(self.outputs, np.nan)
        constant = self._constant().any(0)
        root = np.sqrt(self._moments["spread"])
        scale = np.where(constant, 1.0, root[0] * root[1])
        return np.where(constant, 0.0, np.clip(self._moments["together"] / scale, -1, 1))

    def _spearman(self) -> FloatArray:
        """Return the linear correlation of the ranks of the rows kept, (D,)."""
        kept, _ = self._sample()
        ranks = np.stack([[_ranks(column) for column in side.T] for side in kept])  # (2, D, N)
        of_ranks = RegressionMetrics(self.outputs, spearman_rows=2)
        of_ranks._add_moments(_moments(ranks.swapaxes(1, 2)))
        return of_ranks._pearson()

    def _constant(self) -> npt.NDArray[np.bool_]:
        """Return whether predictions and labels never vary, (2, D)."""
        least, most = self._moments["least"], self._moments["most"]
        # told by the ends, because rounding leaves a little spread between equal numbers
        flat: npt.NDArray[np.bool_] = (least == most) | (self._moments["spread"] == 0)
        return flat

    def _keep(self, pairs: FloatArray, keys: npt.NDArray[np.uint64]) -> None:
        self._kept.append(pairs)
        self._keys.append(keys)
        self._num_kept += len(keys)
        if self._num_kept > self.spearman_rows + self.spearman_rows // 4:
            kept, smallest = self._sample()
            self._kept, self._keys, self._num_kept = [kept], [smallest], len(smallest)

    def _sample(self) -> tuple[FloatArray, npt.NDArray[np.uint64]]:
        """Return the rows with the smallest keys, (2, n, D), and these keys, (n,).

        Keys are as good as random and depend on a row's number only, so the choice is fair, does
        not depend on the batches, and the union of two samples holds the sample of the union.
        """
        pairs = np.concatenate([np.empty((2, 0, self.outputs)), *self._kept], axis=1)
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        if len(keys) > self.spearman_rows:
            chosen = np.sort(np.argpartition(keys, self.spearman_rows)[: self.spearman_rows])
            pairs, keys = pairs[:, chosen], keys[chosen]
        return pairs, keys


def _moments(pairs: FloatArray) -> dict[str, FloatArray]:
    """Return the moments of (2, N, D) predictions and labels."""
    if not pairs.shape[1]:
        nothing = np.zeros((2, pairs.shape[2]))
        sums = dict.fromkeys(("together", "squared_error", "absolute_error"), nothing[0])
        ends = {"least": nothing + np.inf, "most": nothing - np.inf}
        return {"rows": np.zeros(()), "mean": nothing, "spread": nothing, **sums, **ends}
    mean = pairs.mean(1)
    away = pairs - mean[:, None]
    error = pairs[0] - pairs[1]
    return {
        "rows": np.array(float(pairs.shape[1])),
        "mean": mean,
        "spread": (away**2).sum(1),
        "together": (away[0] * away[1]).sum(0),
        "squared_error": (error**2).sum(0),
        "absolute_error": np.abs(error).sum(0),
        "least": pairs.min(1),
        "most": pairs.max(1),
    }


def _ranks(values: FloatArray) -> FloatArray:
    """Return the rank of each value, equal ones sharing the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: FloatArray = last - (counts - 1) / 2
    return shared[place]


def scattered(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return well-mixed keys of whole numbers: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
