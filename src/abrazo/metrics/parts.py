"""The metrics of several tasks that one model learns, each figure behind the name of its task."""

from collections.abc import Mapping
from typing import NoReturn, Self

from abrazo.errors import ConfigError
from abrazo.metrics.base import Array, Better, Direction, Metric, State, part_of


class PartMetrics(Metric):
    """Metrics by task, fed one by one: `parts["intent"].update(...)`."""

    def __init__(self, parts: Mapping[str, Metric]) -> None:
        """Put metrics side by side.

        Args:
            parts: The metric of each task.
        """
        self.parts = dict(parts)
        self.better: dict[str, Better] = {}
        for name, part in parts.items():
            losses: dict[str, Better] = {"loss": "lower"}
            self.better |= {f"{name}_{key}": way for key, way in {**losses, **part.better}.items()}

    def direction_of(self, key: str) -> Direction:
        """Return whether the best `key`, such as `intent_accuracy`, is the greatest or the least.

        Raises:
            ConfigError: There will be no such figure; names the nearest one.
        """
        plain = key.removeprefix("eval_")
        for name, part in self.parts.items():
            if plain.startswith(f"{name}_") and part.is_open:
                return part.direction_of(plain.removeprefix(f"{name}_"))
        return super().direction_of(key)

    def update(self, predictions: Array, labels: Array) -> NoReturn:
        """Refuse: predictions alone do not say which task they are of."""
        raise ConfigError("Metrics of several tasks count by task; one metric cannot count all.")

    def merge(self, other: Self) -> None:
        """Merge task by task; `other` must have the same tasks."""
        if list(other.parts) != list(self.parts):
            raise ConfigError("Metrics of several tasks can be merged only if they are the same.")
        for name, part in self.parts.items():
            part.merge(other.parts[name])

    def compute(self) -> dict[str, float]:
        """Return the figures of all tasks."""
        return {
            f"{name}_{key}": value
            for name, part in self.parts.items()
            for key, value in part.compute().items()
        }

    def state_dict(self) -> State:
        """Return what all have counted, each name behind that of the task."""
        return {
            f"{name}.{key}": array
            for name, part in self.parts.items()
            for key, array in part.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Give each metric its part of `state`."""
        for name, part in self.parts.items():
            part.load_state_dict(part_of(state, f"{name}."))

    def reset(self) -> None:
        """Forget all rows."""
        for part in self.parts.values():
            part.reset()
