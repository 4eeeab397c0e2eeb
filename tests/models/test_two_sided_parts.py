"""Parts of encoder-decoders in what all models have: adapters, freezing, explaining, steps."""

from pathlib import Path

import pytest
import torch

from abrazo.cli.explain import parts_of
from abrazo.models.adapters import (
    add_lora,
    load_adapter,
    merge_lora,
    remove_lora,
    save_adapter,
)
from abrazo.models.freezing import freeze
from abrazo.training.optim import AdamW
from helpers.two_sides import batch_of, new_model, shared_model


@pytest.mark.parametrize("family", ["t5", "marian", "encoder-decoder"])
def test_adapters_of_either_side_learn_and_go_through_a_folder(family: str, tmp_path: Path) -> None:
    model = new_model(family)
    batch = batch_of([7, 4], [3, 5])
    plain = model.answer_packed(batch)["logits"]
    add_lora(model, rank=2, targets=("query_key_value", "query", "key_value"))
    layers = [name for name, _ in model.named_parameters() if name.endswith("lora_up")]
    assert {name.split(".")[1] for name in layers} == {"encoder", "decoder"}
    assert sum("cross_attention" in name for name in layers) == 4
    for name, weight in model.named_parameters():
        if name in layers:
            torch.nn.init.normal_(weight, std=0.3)
    before = model.answer_packed(batch)["logits"]
    assert not torch.allclose(before, plain, atol=1e-3)
    save_adapter(model, tmp_path)
    merge_lora(model)
    torch.testing.assert_close(model.answer_packed(batch)["logits"], before, atol=1e-5, rtol=1e-4)
    other = new_model(family)
    load_adapter(other, tmp_path)
    torch.testing.assert_close(other.answer_packed(batch)["logits"], before, atol=1e-5, rtol=1e-4)
    remove_lora(other)


def test_freezing_takes_the_embeddings_of_both_and_the_encoder_first() -> None:
    model = new_model("bart")
    freeze(model, blocks=3)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    for part in (
        "encoder.embeddings",
        "decoder.embeddings",
        "encoder.blocks.1",
        "decoder.blocks.0",
    ):
        assert any(f"backbone.{part}." in name for name in frozen), part
    assert not any("decoder.blocks.1." in name for name in frozen)


@pytest.mark.parametrize("family", ["t5", "bart", "encoder-decoder"])
def test_explaining_names_the_parts_of_either_side(family: str) -> None:
    model = shared_model(family)
    parts = list(parts_of(model, 10))
    names = [part.name for part in parts]
    assert len(names) == len(set(names))
    for name in ("encoder.blocks.attention", "decoder.blocks.cross_attention", "head"):
        assert name in names
    counted = sum(part.parameters for part in parts)
    outside = sum(  # norms behind the last block, biases by distance
        weight.numel()
        for name, weight in model.named_parameters()
        if "final_norm" in name or "distance_bias" in name
    )
    assert counted + outside == model.num_parameters()


def test_lower_blocks_of_either_side_learn_more_slowly() -> None:
    model = new_model("t5")
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = AdamW(model, learning_rate=1e-2, layer_decay=0.5, weight_decay=0.0)
    model.compute_loss(batch_of([9, 5], [4, 9], labelled=True))[0].mean.backward()
    optimizer.step()
    moved = {
        name: float((weight.detach() - before[name]).abs().max())
        for name, weight in model.named_parameters()
    }
    for side in ("encoder", "decoder"):
        low = moved[f"backbone.{side}.blocks.0.feedforward.down.weight"]
        high = moved[f"backbone.{side}.blocks.1.feedforward.down.weight"]
        assert abs(high / low - 2) < 0.05, side
        top = moved[f"backbone.{side}.final_norm.weight"]
        assert abs(top / high - 2) < 0.05, side


def test_norms_of_all_kinds_do_not_decay() -> None:
    model = new_model("t5")
    before = model.backbone.decoder.final_norm.weight.detach().clone()
    kept = model.backbone.encoder.blocks[0].feedforward.down.weight.detach().clone()
    optimizer = AdamW(model, learning_rate=1e-2, weight_decay=0.5)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert torch.equal(model.backbone.decoder.final_norm.weight, before)
    assert not torch.equal(model.backbone.encoder.blocks[0].feedforward.down.weight, kept)
