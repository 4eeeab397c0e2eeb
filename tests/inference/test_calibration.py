"""True scores, and no answer where there is none: found, kept, served and evaluated."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.inference.calibration import calibrate, fit_temperature
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import pipeline
from abrazo.metrics.classification import ClassificationMetrics
from abrazo.metrics.selective import SelectiveMetrics
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import task_for_model
from abrazo.tasks.text_classification import TextClassificationSettings
from helpers.tiny import WORDS, tiny_bert, tiny_tokenizer

LABELS = ["asks", "buys", "calls"]


def sampled(temperature: float, count: int = 4000, seed: int = 0) -> tuple[Any, Any]:
    """Return logits, and labels drawn from what they say at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3)) * 3
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits / temperature + noise).argmax(-1)


def model_and_rows(count: int = 120) -> tuple[PretrainedModel, list[dict[str, Any]]]:
    """Return a model, and rows whose labels are drawn as if it were three times too sure."""
    model = tiny_bert("sequence_classification", id2label=dict(enumerate(LABELS)))
    model.tokenizer = tiny_tokenizer()
    with torch.no_grad():
        model.head.classifier.weight *= 3  # type: ignore[union-attr, operator]
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 9))) for _ in range(count)]
    answers = pipeline("intent", model, precision="fp32", device="cpu")(texts, top_k=None)
    rows = []
    for text, ranked in zip(texts, answers, strict=True):
        shares = np.array([candidate["score"] for candidate in ranked]) ** (1 / 3)
        place = rng.choice(len(ranked), p=shares / shares.sum())
        rows.append({"text": text, "label": ranked[place]["label"]})
    return model, rows


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature: float) -> None:
    assert fit_temperature(*sampled(temperature)) == pytest.approx(temperature, rel=0.1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.3, 5.0))
def test_no_other_temperature_has_less_log_loss(seed: int, factor: float) -> None:
    logits, labels = sampled(2.0, 200, seed)

    def loss(temperature: float) -> float:
        metrics = ClassificationMetrics(LABELS)
        metrics.update(logits / temperature, labels)
        return metrics.compute()["log_loss"]

    best = fit_temperature(logits, labels)
    assert loss(best) <= loss(best * factor) + 1e-9


def test_calibrated_scores_are_truer_and_kept_in_the_folder(tmp_path: Path) -> None:
    model, rows = model_and_rows()
    before = pipeline("intent", model, precision="fp32")(rows[0]["text"])
    found = calibrate(model, rows)
    assert found.temperature > 1.2
    assert found.error_after < found.error_before
    assert (found.threshold, found.coverage, found.rejected) == (None, 1.0, None)
    model.save_pretrained(tmp_path)
    after = pipeline("intent", tmp_path, precision="fp32", device="cpu")(rows[0]["text"])
    assert after["label"] == before["label"]
    assert after["score"] < before["score"]
    again = calibrate(load_model(tmp_path), rows)  # starts from the logits
    assert again.temperature == pytest.approx(found.temperature, rel=1e-3)


def test_below_the_threshold_there_is_no_label_and_evaluation_counts_the_same() -> None:
    model, rows = model_and_rows()
    with pytest.raises(ConfigError, match="No threshold comes to `wanted_precision`"):
        calibrate(
            model,
            [*rows, {**rows[0], "label": "asks"}, {**rows[0], "label": "buys"}] * 2,
            wanted_precision=1.0,
            out_of_scope=[row["text"] for row in rows],
        )
    found = calibrate(model, rows, wanted_precision=0.55)
    assert found.precision >= 0.55
    assert 0.1 < found.coverage < 1
    classify = pipeline("intent", model, precision="fp32")
    answers = classify([row["text"] for row in rows])
    assert {answer["label"] for answer in answers} <= {*LABELS, None}
    for answer in answers:
        assert (answer["label"] is None) == (answer["score"] < found.threshold)
    answered = [(a, r) for a, r in zip(answers, rows, strict=True) if a["label"] is not None]
    right = sum(answer["label"] == row["label"] for answer, row in answered)
    engine = Engine(model, precision="fp32")
    evaluation = evaluate_rows(engine, task_for_model(model), as_rows(rows), model.tokenizer)
    assert evaluation.metrics["coverage"] == pytest.approx(len(answered) / len(rows))
    assert evaluation.metrics["coverage"] == pytest.approx(found.coverage)
    assert evaluation.metrics["answered_accuracy"] == pytest.approx(right / len(answered))
    assert evaluation.metrics["calibration_error"] == pytest.approx(found.error_after, abs=1e-6)
    assert all(wrong.score >= found.threshold for wrong in evaluation.wrong)
    every = classify(rows[0]["text"], top_k=None)
    assert all(candidate["label"] in LABELS for candidate in every)


def test_rows_that_fit_nothing_choose_a_threshold_and_count_as_wrong_answers() -> None:
    model, rows = model_and_rows()
    strangers = ["坏 坏", "好 看", "上海 工作", "在 北京"]
    found = calibrate(model, rows, out_of_scope=strangers)
    assert found.threshold is not None
    classify = pipeline("intent", model, precision="fp32")
    rejected = sum(answer["label"] is None for answer in classify(strangers))
    assert found.rejected == rejected / len(strangers)
    given = [(classify(r["text"])["label"], r["label"]) for r in rows]
    answers = [pair for pair in given if pair[0] is not None]
    right = sum(said == label for said, label in answers)
    assert found.precision == pytest.approx(right / (len(answers) + len(strangers) - rejected))


def test_a_trainer_will_do_in_place_of_its_model() -> None:
    class Holder:
        model, _ = model_and_rows()

    _, rows = model_and_rows()
    assert calibrate(Holder, rows) == calibrate(Holder.model, rows)  # type: ignore[arg-type]


def test_rows_that_are_all_right_are_no_measure(caplog: pytest.LogCaptureFixture) -> None:
    fit_temperature(np.array([[0.5, 0.0], [0.0, 0.5]]), np.array([0, 1]))
    assert "temperature is at its limit, 0.05: " in caplog.text
    assert "or all answered right" in caplog.text
    caplog.clear()
    fit_temperature(np.array([[0.5, 0.0], [0.0, 0.5]]), np.array([1, 0]))
    assert "temperature is at its limit, 20: " in caplog.text
    assert "or the answers no better than chance" in caplog.text


def test_wrong_use_is_told() -> None:
    model, rows = model_and_rows(4)
    with pytest.raises(ConfigError, match="`wanted_precision` must be above 0"):
        calibrate(model, rows, wanted_precision=1.5)
    with pytest.raises(ConfigError, match="one class a row"):
        calibrate(tiny_bert("token_classification"), rows)
    with pytest.raises(ConfigError, match="regression"):
        calibrate(tiny_bert("sequence_classification", num_labels=1), rows)
    with pytest.raises(DataError, match="`out_of_scope` must be a list"):
        calibrate(model, rows, out_of_scope="one text")
    with pytest.raises(ConfigError, match="`temperature` must be above 0"):
        TextClassificationSettings(temperature=0)
    with pytest.raises(ConfigError, match="`rejection_threshold` must be from 0 to 1"):
        TextClassificationSettings(rejection_threshold=1.5)


def test_selective_metrics_merge_and_come_back_from_their_state() -> None:
    logits, labels = sampled(2.0, 50)
    whole, first, second = (SelectiveMetrics(LABELS, temperature=2, threshold=0.7) for _ in "abc")
    whole.update(logits, labels)
    first.update(logits[:20], labels[:20])
    second.update(logits[20:], labels[20:])
    first.merge(second)
    assert first.compute() == pytest.approx(whole.compute())
    second.load_state_dict(whole.state_dict())
    assert second.compute() == whole.compute()
    shares = np.exp(logits / 2) / np.exp(logits / 2).sum(-1, keepdims=True)
    assert whole.compute()["coverage"] == pytest.approx((shares.max(-1) >= 0.7).mean())
    empty = SelectiveMetrics(LABELS, threshold=1.0)
    empty.update(logits[:1] * 0, labels[:1])
    assert empty.compute()["answered_accuracy"] == 0
    assert math.isfinite(empty.compute()["log_loss"])
