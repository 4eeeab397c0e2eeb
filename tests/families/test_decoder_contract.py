"""What every family of decoders promises: rows alone and among others, step by step and at once."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from abrazo.cli.explain import parts_of
from abrazo.errors import ConfigError, DataError
from abrazo.layers.cache import Cache
from abrazo.models.auto import FAMILIES, AutoConfig, AutoModelForCausalLM, load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.freezing import freeze
from helpers.decoders import CASES, EACH, as_packed, as_padded, last_scores, pair_in, random_rows
from helpers.families import models_of

each = pytest.mark.parametrize(("family", "case"), EACH)
each_family = pytest.mark.parametrize("family", CASES)
LENGTHS = [9, 4, 1, 12, 6]
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what gives a small random model, made once for each case."""
    made: dict[tuple[str, str], PretrainedModel] = {}

    def model(family: str, case: str = "usual") -> PretrainedModel:
        if (family, case) not in made:
            folder = tmp_path_factory.mktemp("model")
            made[family, case] = pair_in(folder, family, **CASES[family][case])[1]
        return made[family, case]

    return model


def go_on(model: PretrainedModel, cache: Cache, rows: list[list[int]]) -> torch.Tensor:
    """Read more tokens of each row and return the scores of what follows."""
    with torch.inference_mode():
        return model.answer_packed(as_packed(rows, cache))["logits"]


def test_each_family_has_small_cases() -> None:
    decoders = [
        family
        for family in FAMILIES
        if "causal_lm" in models_of(family) and "masked_lm" not in models_of(family)
    ]
    assert list(CASES) == decoders


@each
def test_steps_are_reading_the_whole_again(family: str, case: str, models: Any) -> None:
    model, rows = models(family, case), random_rows(LENGTHS)
    cache = model.new_cache(40)
    torch.testing.assert_close(go_on(model, cache, rows), last_scores(model, rows), **CLOSE)
    for step, new in enumerate([1, 1, 3, 1, 2, 5, 1]):  # some bring several tokens at once
        more = random_rows([new] * len(rows), seed=step)
        rows = [[*row, *tokens] for row, tokens in zip(rows, more, strict=True)]
        found = go_on(model, cache, more)
        torch.testing.assert_close(found, last_scores(model, rows), **CLOSE)
    assert cache.lengths.tolist() == [length + 14 for length in LENGTHS]


@each
def test_a_row_alone_is_the_row_in_any_batch(family: str, case: str, models: Any) -> None:
    model, rows = models(family, case), random_rows([1, 30, 4, 4, 9, 1])
    with torch.no_grad():
        together = model(as_packed(rows)).logits.split([len(row) for row in rows])
        for row, expected in zip(rows, together, strict=True):
            torch.testing.assert_close(model(as_packed([row])).logits, expected, **CLOSE)
            ids, mask = as_padded([row], 33)
            torch.testing.assert_close(model(ids, mask).logits[0, : len(row)], expected, **CLOSE)


@each_family
def test_rows_are_repeated_reordered_kept_and_taken_back(family: str, models: Any) -> None:
    model, rows = models(family), random_rows([5, 3, 7])
    cache = model.new_cache()
    go_on(model, cache, rows)
    cache.repeat(2)
    rows = [row for row in rows for _ in range(2)]
    more = random_rows([2] * 6, seed=1)
    rows = [[*row, *tokens] for row, tokens in zip(rows, more, strict=True)]
    torch.testing.assert_close(go_on(model, cache, more), last_scores(model, rows), **CLOSE)
    cache.rewind(1)
    cache.reorder(torch.tensor([1, 0, 2, 2, 5, 4]))
    rows = [rows[number][:-1] for number in (1, 0, 2, 2, 5, 4)]
    cache.keep(torch.tensor([2, 0]))
    rows = [rows[number] for number in (4, 5, 0, 1)]
    more = random_rows([1] * 4, seed=2)
    rows = [[*row, *tokens] for row, tokens in zip(rows, more, strict=True)]
    torch.testing.assert_close(go_on(model, cache, more), last_scores(model, rows), **CLOSE)


@each_family
def test_packed_and_padded_losses_are_one_and_gradients_reach_all(family: str, models: Any) -> None:
    model, rows = copy.deepcopy(models(family)).train(), random_rows(LENGTHS)
    batch = as_packed(rows)
    batch.labels = batch.input_ids.where(torch.arange(len(batch.input_ids)) % 4 > 0, -100)
    loss = model.compute_loss(batch)[0]
    ids, mask = as_padded(rows, 15)
    labels = torch.full(ids.shape, -100)
    labels[mask.bool()] = batch.labels
    torch.testing.assert_close(model(ids, mask, labels=labels).loss, loss.mean)
    loss.mean.backward()
    untouched = [n for n, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    assert not untouched


@each_family
def test_bf16_copies_and_pickles_say_the_same(family: str, models: Any) -> None:
    model, batch = models(family), as_packed(random_rows(LENGTHS))
    with torch.no_grad():
        expected = model(batch).logits
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(batch).logits, expected)
        half = copy.deepcopy(model).to(torch.bfloat16)
        found = half(batch).logits
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).norm() < 0.06 * expected.norm()


@each_family
def test_new_models_start_as_the_family_does(family: str, models: Any) -> None:
    config = models(family).config
    model = models_of(family)["causal_lm"](config)
    for name, weight in model.state_dict().items():
        if name.endswith("bias"):
            assert not weight.any(), name
        elif "norm" in name:
            assert (weight == (0 if family.startswith("gemma") else 1)).all(), name
        elif family == "gpt2" and name.endswith(("attention.output.weight", "down.weight")):
            assert weight.std() == pytest.approx(0.02 / (2 * config.n_layer) ** 0.5, rel=0.2)
        else:
            assert weight.std() == pytest.approx(0.02, rel=0.3), name


@each_family
def test_models_are_frozen_explained_and_found(family: str, models: Any, tmp_path: Path) -> None:
    model = copy.deepcopy(models(family))
    assert (
        sum(part.parameters for part in parts_of(model, 10))
        + sum(weight.numel() for weight in model.backbone.final_norm.parameters())
        == model.num_parameters()
    )
    left = freeze(model, blocks=1)
    assert left == sum(w.numel() for w in model.parameters() if w.requires_grad)
    assert not any(w.requires_grad for w in model.blocks[0].parameters())
    model.save_pretrained(tmp_path)
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path)) is type(model)
    assert AutoConfig.from_pretrained(tmp_path).model_type == family
    classifier = load_model(tmp_path, "sequence_classification", num_labels=4)
    assert classifier(as_packed(random_rows(LENGTHS))).logits.shape == (len(LENGTHS), 4)


@each_family
def test_rows_that_are_too_long_and_words_that_are_none_are_named(family: str, models: Any) -> None:
    model = models(family)
    limit = model.max_length
    with torch.no_grad():
        assert model(as_packed(random_rows([limit]))).logits.shape[0] == limit
    with pytest.raises(DataError, match=f"{limit + 1} tokens, but the model reads at most"):
        model(as_packed(random_rows([2, limit + 1])))
    cache = model.new_cache()
    go_on(model, cache, random_rows([limit - 1]))
    with pytest.raises(DataError, match=f"{limit + 1} tokens, but the model reads at most"):
        go_on(model, cache, random_rows([2]))
    with pytest.raises(DataError, match="Token ids must be from 0 to 52, but 53 occurs"):
        model(torch.tensor([[5, 53]]))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"num_key_value_heads": 3}, "must be a multiple of `num_key_value_heads`"),
        ("llama", {"head_dim": 3}, "width of a head must be even, but is 3"),
        ("llama", {"rope_parameters": {"rope_type": "yarns"}}, "Did you mean"),
        ("llama", {"rope_scaling": {"type": "yarn"}}, "needs `factor`"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": "2"}}, "factor` must be a number"),
        ("mistral", {"sliding_window": 0}, "`sliding_window` must be at least 1"),
        ("qwen2", {"layer_types": ["full_attention"]}, "must name 2 blocks"),
        ("qwen3", {"layer_types": ["full_attention", "local"]}, "`layer_types` must be one of"),
        ("gemma2", {"attn_logit_softcapping": 0.0}, "`attn_logit_softcapping` must be above 0"),
        ("gemma", {"use_bidirectional_attention": True}, "is not known here"),
        ("gemma3_text", {"sliding_window_pattern": 0}, "`sliding_window_pattern` must be"),
        ("gpt_neox", {"rope_parameters": {"partial_rotary_factor": 0.1}}, "an even width"),
        ("gpt2", {"activation_function": "gelo"}, "`activation_function` must be one of"),
        ("gpt2", {"add_cross_attention": True}, "`add_cross_attention` must be false"),
    ],
)
def test_configurations_of_no_model_are_refused(
    family: str, changes: dict[str, Any], message: str, models: Any
) -> None:
    fields = json.loads(json.dumps(models(family).config.to_hf()))
    with pytest.raises(ConfigError, match=message):
        type(models(family).config).from_hf({**fields, **changes})
