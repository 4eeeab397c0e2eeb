"""LoRA adapters: small matrices trained in place of a model, in the files of peft."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.checkpoints.safetensors import open_tensors, save_tensors
from abrazo.errors import CheckpointError, ConfigError
from abrazo.layers.lora import adapted_layers
from abrazo.models.adapters import (
    add_lora,
    load_adapter,
    merge_lora,
    remove_lora,
    save_adapter,
    unmerge_lora,
)
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.sharing import with_head
from helpers.families import READERS, batch_for, new_model
from helpers.tiny import random_batch, tiny_bert, tiny_folder
from helpers.training import (
    CrashAt,
    CrashError,
    assert_same_weights,
    small_model,
    small_trainer,
    weights_of,
)

BATCH = random_batch([5, 9, 3])
IDS = torch.tensor([[2, 12, 13, 14, 3], [2, 20, 21, 22, 3]])
ALL = ("query_key_value", "attention.output", "up", "down")


def adapted(*, seed: int = 1, **options: Any) -> PretrainedModel:
    """Return a tiny model whose adapters are not zero."""
    model = tiny_bert("sequence_classification", num_labels=3)
    add_lora(model, **{"rank": 4, **options})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora_up.copy_(torch.randn(layer.lora_up.shape, generator=generator) * 0.2)
    return model


def logits(model: PretrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().answer_packed(BATCH)["logits"]


def test_new_adapters_change_nothing_and_leave_only_themselves_and_the_head_to_train() -> None:
    model = tiny_bert("sequence_classification", num_labels=3)
    before = logits(model)
    count = add_lora(model, rank=2)
    torch.testing.assert_close(logits(model), before)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert {name.rpartition(".")[2] for name in trained if "head" not in name} == {
        "lora_down",
        "lora_up",
    }
    assert {name for name in trained if "head" in name} == {
        "head.classifier.weight",
        "head.classifier.bias",
    }
    assert count == sum(w.numel() for w in model.parameters() if w.requires_grad)


def test_a_head_that_shares_the_embeddings_leaves_them_frozen() -> None:
    model = tiny_bert("masked_lm")
    add_lora(model)
    assert not model.backbone.word_embeddings.weight.requires_grad


@pytest.mark.parametrize("targets", [("query_key_value",), ("query", "value"), ALL], ids=str)
def test_merged_adapters_answer_as_unmerged_ones_and_come_out_bit_for_bit(
    targets: tuple[str, ...],
) -> None:
    model = adapted(targets=targets)
    plain, before = logits(tiny_bert("sequence_classification", num_labels=3)), logits(model)
    assert not torch.allclose(plain, before, atol=1e-2)
    kept = weights_of(model)
    merge_lora(model)
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=1e-5)
    unmerge_lora(model)
    assert all(torch.equal(weight, kept[name]) for name, weight in model.named_parameters())
    merge_lora(model)
    remove_lora(model)
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=1e-5)
    assert not adapted_layers(model)


def test_parts_that_are_no_target_stay_as_they_are() -> None:
    model = adapted(targets=("query", "value"))
    layer = model.get_submodule("backbone.blocks.0.attention.query_key_value")
    _, key, value = (layer.matrix() - layer.weight).chunk(3)
    assert not key.any()
    assert value.any()


def test_adapters_go_through_a_folder_and_onto_the_same_model(tmp_path: Path) -> None:
    model = adapted(targets=("query", "down"), alpha=12, dropout=0.1)
    save_adapter(model, tmp_path)
    other = tiny_bert("sequence_classification", num_labels=3)
    torch.nn.init.zeros_(other.head.classifier.weight)  # comes with the adapters
    load_adapter(other, tmp_path)
    assert_same_weights(model, other)
    assert torch.equal(logits(model), logits(other))


def test_a_saved_model_has_the_adapters_in_its_weights_and_beside_them(tmp_path: Path) -> None:
    model = adapted(targets=ALL)
    model.save_pretrained(tmp_path / "model")
    torch.testing.assert_close(logits(load_model(tmp_path / "model")), logits(model))
    base = tiny_bert("sequence_classification", num_labels=3)
    load_adapter(base, tmp_path / "model" / "adapter")
    assert torch.equal(logits(base), logits(model))


def test_another_head_on_the_same_backbone_has_the_adapters_too() -> None:
    model = adapted()
    other = with_head(model, "token_classification")
    assert other is not None
    assert len(adapted_layers(other)) == 2


@pytest.mark.parametrize("family", READERS)
def test_adapters_merge_and_go_through_a_folder_in_every_family(
    family: str, tmp_path: Path
) -> None:
    model = new_model(family, "sequence_classification")
    batch = batch_for(model, [7, 4])
    plain = model.answer_packed(batch)["logits"]
    add_lora(model, rank=2, targets=("query_key_value", "up"))
    for layer in adapted_layers(model).values():
        torch.nn.init.normal_(layer.lora_up, std=0.3)
    before = model.answer_packed(batch)["logits"]
    assert not torch.allclose(before, plain, atol=1e-3)
    before.sum().backward()
    assert all(w.grad is not None for w in model.parameters() if w.requires_grad)
    save_adapter(model, tmp_path)
    merge_lora(model)
    torch.testing.assert_close(model.answer_packed(batch)["logits"], before, atol=1e-5, rtol=1e-4)
    other = new_model(family, "sequence_classification")
    load_adapter(other, tmp_path)
    assert torch.equal(other.answer_packed(batch)["logits"], before)


# peft, in both directions ----------------------------------------------------------------------


def peft_model(folder: Path, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    from transformers import BertForSequenceClassification

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = BertForSequenceClassification.from_pretrained(folder)
        config = peft.LoraConfig(task_type="SEQ_CLS", init_lora_weights=False, **options)
        return peft.get_peft_model(base, config).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 12, "target_modules": ["query", "key", "value"]},
        {"r": 3, "target_modules": ["query", "value"], "use_rslora": True},
        {"r": 2, "target_modules": ["query", "intermediate.dense", "attention.output.dense"]},
        {
            "r": 2,
            "target_modules": ["key", "intermediate.dense"],
            "rank_pattern": {"intermediate.dense": 5},
            "alpha_pattern": {"intermediate.dense": 9},
        },
    ],
    ids=["qkv", "rslora", "many", "patterns"],
)
def test_adapters_of_peft_load_and_answer_the_same(tmp_path: Path, options: Any) -> None:
    torch.manual_seed(0)
    folder = tiny_folder(tmp_path / "base", num_labels=3)
    theirs = peft_model(folder, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path / "adapter")
    ours = load_model(folder)
    load_adapter(ours, tmp_path / "adapter")
    with torch.no_grad():
        expected = theirs(input_ids=IDS).logits
        found = ours(IDS).logits
        plain = load_model(folder)(IDS).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-3)


@pytest.mark.parametrize("targets", [("query_key_value",), ("query", "value", "down")], ids=str)
def test_peft_loads_our_adapters_and_answers_the_same(
    tmp_path: Path, targets: tuple[str, ...]
) -> None:
    peft = pytest.importorskip("peft")
    from transformers import BertForSequenceClassification

    ours = adapted(targets=targets, alpha=10)
    remove = tiny_bert("sequence_classification", num_labels=3)
    remove.save_pretrained(tmp_path / "base")
    save_adapter(ours, tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = BertForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(input_ids=IDS).logits, ours(IDS).logits, atol=1e-5, rtol=1e-5
        )


# In training -----------------------------------------------------------------------------------


def lora_model(seed: int = 0) -> PretrainedModel:
    torch.manual_seed(5)
    model = small_model(seed=seed)
    add_lora(model, rank=2, dropout=0.1, targets=("query", "value"))
    return model


def test_training_moves_adapters_alone_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    settings = {"save_steps": 4, "weight_decay": 0.1}
    model = lora_model()
    before = weights_of(model)
    whole = small_trainer(tmp_path / "whole", options={"model": model}, **settings)
    whole.train()
    moved = {n for n, w in weights_of(model).items() if not torch.equal(w, before[n])}
    assert moved == {n for n, weight in model.named_parameters() if weight.requires_grad}
    names = open_tensors(tmp_path / "whole/checkpoint-15/optimizer.safetensors").names
    assert {name.rpartition(".")[0] for name in names} == moved

    with pytest.raises(CrashError):
        small_trainer(
            tmp_path / "broken",
            options={"model": lora_model(), "callbacks": [CrashAt(6)]},
            **settings,
        ).train()
    resumed = small_trainer(tmp_path / "broken", options={"model": lora_model()}, **settings)
    resumed.train()
    assert_same_weights(resumed.model, whole.model)
    served = load_model(tmp_path / "broken" / "best")
    torch.testing.assert_close(logits(served), logits(resumed.model))


def test_resuming_on_another_pretrained_model_is_an_error(tmp_path: Path) -> None:
    small_trainer(tmp_path, options={"model": lora_model()}, max_steps=2).train()
    with pytest.raises(CheckpointError, match="trained on other weights"):
        small_trainer(
            tmp_path,
            options={"model": lora_model(seed=9)},
            max_steps=4,
            resume_from_checkpoint=True,
        ).train()


def test_resuming_with_adapters_of_another_rank_is_an_error(tmp_path: Path) -> None:
    small_trainer(tmp_path, options={"model": lora_model()}, max_steps=2).train()
    model = small_model()
    add_lora(model, rank=3, targets=("query", "value"))
    with pytest.raises(CheckpointError, match="`rank` or `alpha` differ"):
        model.load_weights(tmp_path / "checkpoint-2")
    with pytest.raises(CheckpointError, match="has none in `adapter/`"):
        model.load_weights(tiny_folder(tmp_path / "plain", num_labels=2))


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "`rank` must be a whole number of 1 or more, but is 0"),
        ({"alpha": -1}, "`alpha` must be above 0"),
        ({"dropout": 1.0}, "`dropout` must be from 0"),
        ({"targets": "query"}, "`targets` must be a list"),
        ({"targets": ["quarry"]}, "Did you mean `query`"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        add_lora(tiny_bert("sequence_classification"), **options)


def test_adapters_twice_or_none_are_told() -> None:
    model = adapted()
    with pytest.raises(ConfigError, match="has adapters already"):
        add_lora(model)
    remove_lora(model)
    for step in (merge_lora, unmerge_lora):
        with pytest.raises(ConfigError, match="no adapters"):
            step(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "`peft_type` is 'IA3'"),
        ({"use_dora": True}, "`use_dora` is True"),
        ({"lora_alpha": "x"}, "`lora_alpha` must be above 0"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "has patterns"),
    ],
)
def test_settings_that_are_not_known_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_adapter(adapted(), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message.replace("(", r"\(")):
        load_adapter(tiny_bert("sequence_classification", num_labels=3), tmp_path)


def test_tensors_that_do_not_fit_are_all_listed_and_the_model_is_left_alone(tmp_path: Path) -> None:
    save_adapter(adapted(), tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    file = open_tensors(path)
    tensors = {name: file.tensor(name).clone() for name in file.names}
    first = "base_model.model.bert.encoder.layer.0.attention.self"
    del tensors[f"{first}.key.lora_B.weight"]
    tensors[f"{first}.query.lora_A.weight"] = torch.zeros(4, 7)
    tensors["base_model.model.bert.encoder.layer.9.attention.self.key.lora_A.weight"] = torch.ones(
        2
    )
    tensors["base_model.model.classifier.weight"] = torch.zeros(1, 1)
    save_tensors(tensors, path)
    model = tiny_bert("sequence_classification", num_labels=3)
    with pytest.raises(CheckpointError) as caught:
        load_adapter(model, tmp_path)
    text = str(caught.value)
    for part in (
        "missing        encoder",
        "wrong shape    bert",
        "unexpected",
        "classifier.weight",
    ):
        assert part in text or part.replace("encoder", "bert.encoder") in text
    assert not adapted_layers(model)
    assert all(weight.requires_grad for weight in model.parameters())
