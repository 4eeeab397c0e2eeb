"""LoRA adapters of decoders: joined matrices of unequal height, and files in another form."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.layers.lora import adapted_layers
from abrazo.models.adapters import add_lora, load_adapter, merge_lora, remove_lora, save_adapter
from abrazo.models.auto import load_model
from helpers.decoders import CASES, as_packed, pair_in, random_rows

each_family = pytest.mark.parametrize("family", CASES)
IDS = torch.tensor(random_rows([7, 7]))
TARGETS = {
    "gpt2": ["c_attn", "c_fc", "mlp.c_proj"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
}
USUAL = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def adapted(model: Any, **options: Any) -> Any:
    """Put adapters on a model that are not zero."""
    add_lora(model, rank=2, **options)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora_up.copy_(torch.randn(layer.lora_up.shape, generator=generator) * 0.3)
    return model


def peft() -> Any:
    return pytest.importorskip("peft")


@pytest.mark.parametrize("head", ["CausalLM", "SequenceClassification"])
@each_family
def test_adapters_of_peft_load_and_answer_the_same(family: str, head: str, tmp_path: Path) -> None:
    theirs, ours = pair_in(tmp_path / "base", family, head, **CASES[family]["usual"])
    kind = "CAUSAL_LM" if head == "CausalLM" else "SEQ_CLS"
    targets = TARGETS.get(family, USUAL)
    plain = logits(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft().LoraConfig(
            task_type=kind, r=3, target_modules=targets, init_lora_weights=False
        )
        torch.manual_seed(0)
        changed = peft().get_peft_model(theirs, config).eval()
        changed.save_pretrained(tmp_path / "adapter")
        with torch.no_grad():
            expected = changed(input_ids=IDS).logits
    load_adapter(ours, tmp_path / "adapter")
    torch.testing.assert_close(logits(ours), expected, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-3)
    merge_lora(ours)
    torch.testing.assert_close(logits(ours), expected, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["CausalLM", "SequenceClassification"])
@each_family
def test_peft_loads_our_adapters_and_answers_the_same(
    family: str, head: str, tmp_path: Path
) -> None:
    theirs, ours = pair_in(tmp_path / "base", family, head, **CASES[family]["usual"])
    adapted(ours, targets=["query_key_value", "down"])
    save_adapter(ours, tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["fan_in_fan_out"] is (family == "gpt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = peft().PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
        with torch.no_grad():
            expected = changed(input_ids=IDS).logits
    torch.testing.assert_close(logits(ours), expected, atol=2e-5, rtol=1e-4)
    again = load_model(tmp_path / "base")
    load_adapter(again, tmp_path / "adapter")
    assert torch.equal(logits(again), logits(ours))


@each_family
def test_what_is_merged_saved_and_taken_off_is_what_was_learned(
    family: str, tmp_path: Path
) -> None:
    ours = pair_in(tmp_path / "base", family, **CASES[family]["usual"])[1]
    adapted(ours)
    expected = logits(ours)
    ours.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(
        logits(load_model(tmp_path / "saved")), expected, atol=5e-5, rtol=1e-4
    )
    merge_lora(ours)
    remove_lora(ours)
    torch.testing.assert_close(logits(ours), expected, atol=5e-5, rtol=1e-4)


def test_one_of_joined_matrices_is_corrected_alone(tmp_path: Path) -> None:
    model = pair_in(tmp_path, "llama")[1]
    adapted(model, targets=["k_proj"])
    layer = model.get_submodule("backbone.blocks.0.attention.query_key_value")
    query, key, value = (layer.matrix() - layer.weight).split(layer.heights)
    assert layer.heights == (16, 8, 8)
    assert not query.any()
    assert key.any()
    assert not value.any()


@pytest.mark.parametrize("case", ["usual", "tied"])
def test_what_scores_words_stays_as_it_is(case: str, tmp_path: Path) -> None:
    model = pair_in(tmp_path, "llama", **CASES["llama"][case])[1]
    count = add_lora(model, rank=2)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(name.endswith(("lora_up", "lora_down")) for name in trained)
    batch = as_packed(random_rows([5, 3]))
    batch.labels = batch.input_ids
    model.compute_loss(batch)[0].mean.backward()
    assert count == sum(w.numel() for w in model.parameters() if w.grad is not None)
