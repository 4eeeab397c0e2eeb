"""Two tasks on one tiny BERT: whether a text is good or bad, and which of its words say so."""

from typing import Any

from abrazo.models.multi_task import MultiTaskModel
from helpers.tiny import tiny_rows
from helpers.training import small_model

TAGS = ["O", "B-JUDGEMENT", "I-JUDGEMENT"]
_JUDGING = ("good", "bad", "great", "fine", "好", "坏")


def two_task_model(*, seed: int = 0, dropout: float = 0.1, **changes: Any) -> MultiTaskModel:
    """Return a model with a classifier for `intent` and one of tokens for `slots`."""
    intent = small_model(seed=seed, dropout=dropout, id2label={0: "bad", 1: "good"}, **changes)
    slots = small_model(
        "token_classification",
        seed=seed + 1,
        dropout=dropout,
        id2label=dict(enumerate(TAGS)),
        **changes,
    )
    return MultiTaskModel({"intent": intent, "slots": slots})


def two_task_rows(intents: int = 24, slots: int = 16) -> dict[str, list[dict[str, Any]]]:
    """Return rows for both tasks; they read other columns of texts alike."""
    tagged = []
    for row in tiny_rows(slots):
        words = row["text"].split()
        judges = [any(judging in word for judging in _JUDGING) for word in words]
        tags = ["B-JUDGEMENT" if is_judging else "O" for is_judging in judges]
        tagged.append({"tokens": words, "tags": tags})
    return {"intent": tiny_rows(intents), "slots": tagged}
