"""Parts as users write them: the files of the page on own parts, and a task of multiple choice."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import abrazo as az
from abrazo.checkpoints.keymap import Row
from abrazo.heads.base import Encoded
from abrazo.layers.packing import PackedBatch
from abrazo.tasks.base import features_of, row_name
from abrazo.tasks.columns import text_of
from abrazo.tokenization.tokenizer import Tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
WORDS = {1: "awful", 2: "poor", 3: "film", 4: "good", 5: "great"}


def write_page_files(folder: Path) -> None:
    """Write `stars.py` and `mixer.py` as the page has them."""
    for text in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M):
        if named := re.match(r"# (\w+\.py)\n", text):
            (folder / named[1]).write_text(text, encoding="utf-8")


def star_rows(count: int = 30) -> list[dict[str, Any]]:
    """Return texts with stars, which show in one word, English and Chinese by turns."""
    chinese = {1: "糟糕", 2: "坏", 3: "电影", 4: "好", 5: "很好看"}
    rows = []
    for number in range(count):
        stars = number % 5 + 1
        text = f"the film is {WORDS[stars]} ." if number % 2 else f"这部电影{chinese[stars]}。"
        rows.append({"text": text, "stars": stars})
    return rows


class ChoiceHead(az.Head):
    """One score for each answer; those of a row share the probability."""

    per_token = False
    output = az.SequenceClassifierOutput
    needs_pooler = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.classifier = nn.Linear(config.width, 1)

    def forward(self, encoded: Encoded) -> dict[str, torch.Tensor]:
        assert encoded.pooled is not None
        return {"logits": self.classifier(encoded.pooled)}  # (answers of all rows, 1)

    def loss(self, outputs: dict[str, Any], batch: PackedBatch) -> az.Loss | None:
        if batch.labels is None:
            return None
        rows, row = torch.tensor(batch.rows).unique(return_inverse=True)
        scores = outputs["logits"].squeeze(-1).float()
        wholes = torch.zeros(len(rows)).scatter_add(0, row, scores.exp()).log()
        return az.Loss(wholes.sum() - (scores * batch.labels).sum(), len(rows))


def choice_rows_of_map(_config: Any) -> tuple[Row, ...]:
    return (Row("classifier", "classifier"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceSettings(az.TaskSettings):
    """Columns."""

    text_column: str = "text"
    """Column of the text."""
    choices_column: str = "choices"
    """Column of the answers to choose from."""
    label_column: str = "label"
    """Column of the number of the right one, from 0."""


class MultipleChoice(az.Task):
    """Which answer fits the text?"""

    name = "multiple-choice"
    head_name = "multiple_choice"
    head_plan = az.HeadPlan(ChoiceHead, choice_rows_of_map)
    settings_type = ChoiceSettings
    settings: ChoiceSettings
    keeps_rows_whole = True

    def as_row(self, item: Any) -> Mapping[str, Any]:
        if isinstance(item, tuple):
            return {self.settings.text_column: item[0], self.settings.choices_column: item[1]}
        return item  # type: ignore[no-any-return]

    def encode(
        self,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        tokenizer: Tokenizer,
        *,
        with_labels: bool,
        origin: Callable[[int], str] = row_name,
    ) -> list[az.Features]:
        texts, choices, places, labels = [], [], [], []
        for row, number in zip(rows, numbers, strict=True):
            for place, choice in enumerate(row[self.settings.choices_column]):
                texts.append(text_of(row, self.settings.text_column, number, origin))
                choices.append(choice)
                places.append(number)
                labels.append(np.float32(with_labels and place == row[self.settings.label_column]))
        encoded = tokenizer.encode_rows(texts, choices, max_length=self.settings.max_length)
        return features_of(encoded, places, labels if with_labels else None)

    def predict(
        self, features: Sequence[az.Features], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> np.ndarray:
        return np.concatenate([output["logits"] for output in outputs])

    def row_label(self, features: Sequence[az.Features]) -> Any:
        labels = [feature.label for feature in features]
        return None if labels[0] is None else int(np.argmax(labels))

    def answer(self, prediction: np.ndarray, *, top_k: int | None = 1) -> Any:
        shares = np.exp(prediction - prediction.max())
        best = int(prediction.argmax())
        return {"choice": best, "score": float(shares[best] / shares.sum())}

    def new_metrics(self) -> az.Metric:
        return az.ClassificationMetrics(["0", "1", "2"])


def choice_rows(count: int = 32) -> list[dict[str, Any]]:
    """Return texts with three answers, one of which has the text's own word."""
    words = ["paris", "berlin", "anna", "maria", "tom", "北京", "上海", "film", "plot"]
    rows = []
    for number in range(count):
        choices = [words[(number + step) % len(words)] for step in (0, 3, 5)]
        label = number % 3
        rows.append({"text": f"who is {choices[label]} ?", "choices": choices, "label": label})
    return rows
