"""Training a part of a model, and its lower blocks slower than the upper ones."""

from pathlib import Path

import pytest

from abrazo.errors import ConfigError, TrainingError
from abrazo.models.freezing import freeze
from abrazo.training.trainer import Trainer
from helpers.training import (
    CrashAt,
    CrashError,
    assert_same_weights,
    small_arguments,
    small_model,
    small_trainer,
    weights_of,
)


def test_frozen_parts_stay_and_the_rest_moves(tmp_path: Path) -> None:
    model = small_model()
    count = freeze(model, blocks=1)
    before = weights_of(model)
    small_trainer(tmp_path, options={"model": model}, max_steps=3).train()
    moved = {n for n, w in weights_of(model).items() if not w.equal(before[n])}
    frozen = {n for n in before if n.startswith(("backbone.embeddings.", "backbone.blocks.0."))}
    assert moved == before.keys() - frozen
    assert count == sum(before[name].numel() for name in moved)


def test_frozen_and_decayed_runs_resume_bit_for_bit(tmp_path: Path) -> None:
    def start(name: str, **options: object) -> Trainer:
        model = small_model()
        freeze(model, embeddings=False, blocks=1)
        return small_trainer(
            tmp_path / name,
            options={"model": model, **options},
            save_steps=4,
            layerwise_lr_decay=0.5,
            weight_decay=0.1,
        )

    whole = start("whole")
    whole.train()
    with pytest.raises(CrashError):
        start("broken", callbacks=[CrashAt(6)]).train()
    resumed = start("broken")
    resumed.train()
    assert_same_weights(resumed.model, whole.model)


@pytest.mark.parametrize("blocks", [-1, 3, True, 1.5])
def test_blocks_that_are_not_there_are_told(blocks: int) -> None:
    with pytest.raises(ConfigError, match="`blocks` must be a whole number from 0 to 2"):
        freeze(small_model(), blocks=blocks)


def test_a_model_that_is_frozen_whole_is_told_before_the_first_step(tmp_path: Path) -> None:
    model = small_model()
    model.requires_grad_(False)
    with pytest.raises(TrainingError, match="All weights of the model are frozen"):
        small_trainer(tmp_path, options={"model": model}).train()


@pytest.mark.parametrize("decay", [0, 1.1, -0.5])
def test_a_decay_of_no_use_is_told(tmp_path: Path, decay: float) -> None:
    with pytest.raises(ConfigError, match="`layerwise_lr_decay` must be above 0 and at most 1"):
        small_arguments(tmp_path, layerwise_lr_decay=decay)
