"""The engine gives answers back in order, the same for a row alone or in any batch."""

import copy
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.errors import ConfigError
from abrazo.inference.engine import Engine, LossMeter
from abrazo.layers.packing import PackedBatch
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import task_for_model
from abrazo.tasks.base import Features, Task
from helpers.tiny import SPECIAL, VOCAB, tiny_bert

MODEL = tiny_bert("sequence_classification", num_labels=3)
TASK = task_for_model(MODEL)


def features_of(lengths: list[int], *, labelled: bool = False) -> list[Features]:
    """Return features of random tokens; a row's own tokens depend on its number alone."""
    return [
        Features(
            np.random.default_rng(number).integers(SPECIAL, len(VOCAB), length).astype(np.int32),
            None,
            np.int64(number % 3) if labelled else None,
            number,
        )
        for number, length in enumerate(lengths)
    ]


def logits_of(engine: Engine, features: list[Features], task: Task = TASK) -> list[np.ndarray]:
    results = list(engine.run(features, task.collate))
    assert [found for found, _ in results] == features
    return [output["logits"] for _, output in results]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.sampled_from([1, 17, 64, 4096]))
def test_order_is_kept_and_company_does_not_matter(lengths: list[int], budget: int) -> None:
    features = features_of(lengths)
    together = logits_of(Engine(MODEL, precision="fp32", token_budget=budget), features)
    alone = Engine(MODEL, precision="fp32")
    for feature, logits in zip(features, together, strict=True):
        [expected] = logits_of(alone, [feature])
        np.testing.assert_allclose(logits, expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=30), st.sampled_from([1, 40, 4096]))
def test_answers_for_tokens_belong_to_their_rows(lengths: list[int], budget: int) -> None:
    model = _token_model()
    features = features_of(lengths)
    engine = Engine(model, precision="fp32", token_budget=budget)
    for feature, output in engine.run(features, TASK.collate):
        assert output["logits"].shape == (len(feature.input_ids), 2)
        ids = torch.from_numpy(feature.input_ids.astype(np.int64))
        expected = model(ids[None]).logits[0].detach().numpy()
        np.testing.assert_allclose(output["logits"], expected, atol=1e-5)


def _token_model() -> PretrainedModel:
    return tiny_bert("token_classification")


@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_batches_stay_within_the_budget_unless_one_row_exceeds_it(budget: int) -> None:
    seen: list[list[int]] = []

    def collate(features: list[Features]) -> PackedBatch:
        seen.append([len(feature.input_ids) for feature in features])
        return TASK.collate(features)

    lengths = [5, 60, 3, 9, 9, 31, 2, 2, 1]
    list(Engine(MODEL, precision="fp32", token_budget=budget).run(features_of(lengths), collate))
    assert sorted(itertools.chain(*seen)) == sorted(lengths)
    assert all(sum(batch) <= budget or len(batch) == 1 for batch in seen)


def test_rows_of_like_length_share_a_batch() -> None:
    seen: list[list[int]] = []

    def collate(features: list[Features]) -> PackedBatch:
        seen.append([len(feature.input_ids) for feature in features])
        return TASK.collate(features)

    engine = Engine(MODEL, precision="fp32", token_budget=200)
    list(engine.run(features_of([2, 50] * 200), collate))
    mixed = [batch for batch in seen if len(set(batch)) > 1]
    assert len(mixed) <= 0.1 * len(seen)


def test_loss_is_the_mean_over_all_rows_whatever_the_batches() -> None:
    features = features_of([3, 9, 20, 6, 41, 7], labelled=True)
    means = []
    for budget in (1, 30, 4096):
        meter = LossMeter()
        engine = Engine(MODEL, precision="fp32", token_budget=budget)
        logits = [out["logits"] for _, out in engine.run(features, TASK.collate, meter)]
        assert meter.count == 6
        means.append(meter.mean)
    labels = torch.tensor([int(feature.label) for feature in features])
    by_hand = torch.nn.functional.cross_entropy(torch.from_numpy(np.stack(logits)), labels)
    assert means == pytest.approx([float(by_hand)] * 3, abs=1e-5)
    assert np.isnan(LossMeter().mean)


def test_nothing_in_gives_nothing_out() -> None:
    assert list(Engine(MODEL, precision="fp32").run([], TASK.collate)) == []


def test_stream_is_answered_before_it_ends() -> None:
    taken = 0

    def endless() -> Iterator[Features]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield features_of([5 + number % 7])[0]

    answers = Engine(MODEL, precision="fp32", token_budget=100).run(endless(), TASK.collate)
    next(answers)
    assert taken < 40
    list(itertools.islice(answers, 500))
    assert taken < 2_000
    answers.close()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_model_is_left_as_it_was(precision: str) -> None:
    model = tiny_bert("masked_lm").train()
    before = copy.deepcopy(model)
    engine = Engine(model, precision=precision)
    assert engine.precision == precision
    assert (engine.model is model) == (precision == "fp32")
    list(engine.run(features_of([4, 9]), TASK.collate))
    assert model.training
    assert all(
        torch.equal(weight, old) and weight.dtype == old.dtype
        for weight, old in zip(model.parameters(), before.parameters(), strict=True)
    )
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    tied = engine.model.head.decoder.weight is engine.model.backbone.word_embeddings.weight
    assert tied
    assert engine.model.num_parameters() == model.num_parameters()


def test_dropout_is_off_and_back_on_even_after_an_error() -> None:
    model = tiny_bert("sequence_classification", hidden_dropout_prob=0.5).train()
    engine = Engine(model, precision="fp32")
    first, second = (logits_of(engine, features_of([9, 4])) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.training
    answers = engine.run(features_of([9, 65]), TASK.collate)
    with pytest.raises(ValueError, match="65 tokens"):
        next(answers)
    assert model.training


def test_bf16_is_close_to_fp32() -> None:
    features = features_of([7, 30, 12])
    exact = logits_of(Engine(MODEL, precision="fp32"), features)
    rough = logits_of(Engine(MODEL, precision="bf16"), features)
    assert rough[0].dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=0.1)
    assert not np.array_equal(rough, exact)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="`precision` must be one of"):
        Engine(MODEL, precision="fp8")
    for budget in (0, -5):
        with pytest.raises(ConfigError, match="`token_budget` must be at least 1"):
            Engine(MODEL, token_budget=budget)
