"""Model folders from anywhere: each fault has its message, in no time and without memory."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from abrazo.checkpoints.folder import INDEX, WEIGHTS
from abrazo.errors import AbrazoError, CheckpointError, ConfigError, HubError, TokenizerError
from abrazo.inference.pipeline import pipeline
from abrazo.models.auto import FAMILIES, AutoModelForMaskedLM, load_model
from abrazo.models.bert import MODELS
from helpers.tiny import tiny_bert, tiny_folder, tiny_tokenizer

MOST_SECONDS = 2.0
MOST_MEGABYTES = 200


@pytest.fixture(autouse=True)
def _in_no_time_and_memory() -> Iterator[None]:
    """Hold every test of this file to the budget, in processor time, as machines may be busy."""
    started, before = time.process_time(), _megabytes()
    yield
    assert time.process_time() - started < MOST_SECONDS
    assert _megabytes() - before < MOST_MEGABYTES


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model", labels=["bad", "good"])


def set_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# config.json ---------------------------------------------------------------------------------

WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"hidden_size": 10**9}, "`hidden_size` must be a number from 0 to 10000000"),
    ({"num_hidden_layers": 10**7}, "`num_hidden_layers` must be at most 300"),
    ({"num_attention_heads": 0}, "`num_attention_heads` must be at least 1"),
    ({"num_attention_heads": 3}, r"multiple of `num_attention_heads` \(3\), but is 32"),
    ({"hidden_size": "32"}, "`hidden_size` must be of type int, but is '32'"),
    ({"hidden_size": 32.5}, "`hidden_size` must be of type int"),
    ({"hidden_size": True}, "`hidden_size` must be of type int"),
    ({"hidden_size": None}, "`hidden_size` must be of type int"),
    ({"vocab_size": -1}, "`vocab_size` must be a number from 0"),
    ({"layer_norm_eps": 0}, "`layer_norm_eps` must be above 0"),
    ({"layer_norm_eps": [1e-12]}, "`layer_norm_eps` must be of type float"),
    ({"hidden_dropout_prob": 5}, "`hidden_dropout_prob` must be from 0 to 1, but is 5"),
    ({"initializer_range": -1}, "`initializer_range` must be a number from 0"),
    ({"hidden_act": "__import__('os')"}, "`hidden_act` .* is none of gelu"),
    ({"hidden_act": {"a": 1}}, "`hidden_act` must be of type str"),
    ({"problem_type": "evil"}, "`problem_type` must be one of"),
    ({"position_embedding_type": "relative_key"}, "must be 'absolute', but is 'relative_key'"),
    ({"id2label": ["a"]}, "`id2label` of .* must map numbers to labels"),
    ({"id2label": {"a": "b"}}, "`id2label` of .* must map numbers to labels"),
    ({"id2label": {"0": "a", "5": "b"}}, r"from 0 without a gap, but has \[0, 5\]"),
    ({"id2label": {str(i): "x" for i in range(100_001)}}, "must number its labels"),
    ({"model_type": "gpt9"}, "'gpt9' are not known, only these: bert, "),
    ({"model_type": None}, "'None' are not known"),
    ({"model_type": ["bert"]}, "are not known"),
    ({"model_type": "../bert"}, "are not known"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_FIELDS, ids=lambda value: str(value)[:40])
def test_wrong_field_of_config_is_named(folder: Path, changes: dict[str, Any], said: str) -> None:
    set_config(folder, **changes)
    with pytest.raises(ConfigError, match=said):
        load_model(folder)


def test_all_wrong_fields_are_listed_at_once(folder: Path) -> None:
    set_config(folder, hidden_size="a", vocab_size=None, hidden_act=3)
    with pytest.raises(
        ConfigError, match=r"config.json.* does not describe a bert model"
    ) as caught:
        load_model(folder)
    for name in ("hidden_size", "vocab_size", "hidden_act"):
        assert f"`{name}`" in str(caught.value)


def test_unknown_type_lists_all_families(folder: Path) -> None:
    set_config(folder, model_type="gpt9")
    with pytest.raises(ConfigError) as caught:
        load_model(folder)
    assert all(family in str(caught.value) for family in FAMILIES)


WRONG_TEXTS = {
    "[]": "holds a list instead of an object",
    "null": "instead of an object",
    "": "Expecting value",
    '{"model_type": "bert"': "Expecting",
    '{"model_type": "bert", "layer_norm_eps": NaN}': "NaN is not a JSON number",
    '{"model_type": "bert", "layer_norm_eps": 1e999}': "not",
    '{"model_type": "bert", "model_type": "bert"}': "comes twice",
    "[" * 100_000: "nested 100,000 deep",
    '{"a": "' + "x" * 17_000_000 + '"}': "larger than 16,000,000 bytes",
}


@pytest.mark.parametrize("text", WRONG_TEXTS, ids=lambda text: text[:30])
def test_config_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=WRONG_TEXTS[text]):
        load_model(folder)


def test_config_of_random_bytes_is_refused(folder: Path) -> None:
    (folder / "config.json").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(CheckpointError, match="not a JSON file"):
        load_model(folder)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 10**7, "num_attention_heads": 10, "num_hidden_layers": 300},
        {"vocab_size": 10**7, "hidden_size": 10**7, "num_attention_heads": 10},
        {"max_position_embeddings": 10**7},
        {"intermediate_size": 10**7},
    ],
    ids=str,
)
def test_sizes_no_memory_can_hold_are_compared_with_the_file_first(
    folder: Path, sizes: dict[str, int]
) -> None:
    set_config(folder, **sizes)
    with pytest.raises(CheckpointError, match="does not fit BertForSequenceClassification"):
        load_model(folder)


@pytest.mark.parametrize("name", ["forward", "from_pretrained", "to_hf", "__class__", "extra"])
def test_field_named_like_a_method_changes_nothing(folder: Path, name: str) -> None:
    set_config(folder, **{name: "x"})
    model = load_model(folder)
    assert model.config.extra[name] == "x"
    assert callable(model.forward)
    assert callable(model.config.to_hf)
    model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())[name] == "x"


def test_family_of_another_class_is_refused_with_what_to_use(folder: Path) -> None:
    set_config(folder, model_type="roberta")
    with pytest.raises(ConfigError, match=r"of the type 'roberta'.*`AutoModel`"):
        MODELS["sequence_classification"].from_pretrained(folder)


# Weights --------------------------------------------------------------------------------------


def test_folder_without_weights_says_what_should_be_there(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=f"has no weights: neither `{WEIGHTS}` nor"):
        load_model(folder)


def test_pickle_alone_is_not_loaded_and_the_way_out_told(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    with pytest.raises(CheckpointError, match="a pickle file can run code and is never loaded"):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.999], ids=str)
def test_truncated_file_is_refused(folder: Path, kept: float) -> None:
    file = folder / WEIGHTS
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match="is not a safetensors file as it should be"):
        load_model(folder)


def change_weights(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def test_wrong_shapes_are_listed_with_both(folder: Path) -> None:
    change_weights(
        folder,
        lambda weights: (
            weights
            | {
                "bert.embeddings.word_embeddings.weight": torch.zeros(70, 32),
                "bert.encoder.layer.1.attention.self.key.weight": torch.zeros(32, 31),
            }
        ),
    )
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert "embeddings.tokens.weight   file (70, 32)   model (78, 32)" in said
    assert "query_key_value.weight   file (32, 31)   model (32, 32)" in said


def test_half_the_weights_missing_are_all_listed(folder: Path) -> None:
    change_weights(
        folder, lambda weights: {n: w for n, w in weights.items() if "layer.1." not in n}
    )
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert said.count("missing        backbone.blocks.1.") == 12
    assert "blocks.0" not in said


def test_half_a_head_is_missing_not_new(folder: Path) -> None:
    change_weights(
        folder, lambda weights: {n: w for n, w in weights.items() if n != "classifier.bias"}
    )
    with pytest.raises(CheckpointError, match=r"missing        head.classifier.bias"):
        load_model(folder)


def test_unexpected_weights_are_listed(folder: Path) -> None:
    change_weights(folder, lambda weights: weights | {"bert.extra.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"unexpected     bert.extra.weight"):
        load_model(folder)


def test_long_list_of_problems_is_cut(folder: Path) -> None:
    change_weights(
        folder, lambda weights: weights | {f"bert.x{i}": torch.zeros(1) for i in range(99)}
    )
    with pytest.raises(CheckpointError, match="and 59 more"):
        load_model(folder)


def test_whole_numbers_are_no_weights(folder: Path) -> None:
    name = "bert.pooler.dense.weight"
    change_weights(folder, lambda weights: weights | {name: torch.zeros(32, 32, dtype=torch.int8)})
    with pytest.raises(CheckpointError, match=r"wrong type .*pooler\.dense\.weight .*torch\.int8"):
        load_model(folder)


# Several files ------------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    tiny_bert().save_pretrained(tmp_path / "sharded", max_shard_size=15_000)
    assert (tmp_path / "sharded" / INDEX).exists()
    return tmp_path / "sharded"


WRONG_INDEXES: list[tuple[Any, str]] = [
    ({"weight_map": ["a", "b"]}, "must have a `weight_map`"),
    ({"weight_map": {}}, "must have a `weight_map`"),
    ({}, "must have a `weight_map`"),
    ({"weight_map": {"x": "../../secret.safetensors"}}, "names files that it may not"),
    ({"weight_map": {"x": "/etc/passwd"}}, "names files that it may not"),
    ({"weight_map": {"x": 3}}, "is not a string"),
    ({"weight_map": {"x": "evil.py"}}, "is not a safetensors file"),
    ({"weight_map": {"x": "absent.safetensors"}}, "absent.safetensors"),
]


@pytest.mark.parametrize(("index", "said"), WRONG_INDEXES, ids=lambda value: str(value)[:40])
def test_wrong_index_is_refused(sharded: Path, index: Any, said: str) -> None:
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=said):
        load_model(sharded)


def test_shard_that_is_missing_is_named(sharded: Path) -> None:
    victim = sorted(sharded.glob("model-*.safetensors"))[1]
    victim.unlink()
    with pytest.raises(CheckpointError, match=victim.name):
        load_model(sharded)


# Around it ------------------------------------------------------------------------------------


def test_folder_that_is_not_there_is_told_from_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="There is no folder"):
        load_model(tmp_path / "absent")


def test_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(AbrazoError, match=r"config\.json"):
        load_model(tmp_path)


def test_model_without_tokenizer_loads_and_saves_but_cannot_read_text(tmp_path: Path) -> None:
    tiny_bert("sequence_classification").save_pretrained(tmp_path / "bare")
    model = load_model(tmp_path / "bare")
    model.save_pretrained(tmp_path / "again")
    assert load_model(tmp_path / "again").num_parameters() == model.num_parameters()
    with pytest.raises(TokenizerError, match="holds no tokenizer"):
        pipeline("text-classification", tmp_path / "again")
    answer = pipeline("text-classification", tmp_path / "bare", tokenizer=tiny_tokenizer())("film")
    assert answer["label"] in {"LABEL_0", "LABEL_1"}


def test_new_model_has_no_tokenizer_to_offer() -> None:
    with pytest.raises(TokenizerError, match=r"Set one: `model\.tokenizer = "):
        _ = tiny_bert().tokenizer


def test_wrong_settings_of_the_task_are_named(folder: Path) -> None:
    settings = {"task": "text-classification", "settings": {"treshold": 0.5}}
    (folder / "abrazo.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"no field `treshold`\. Did you mean `threshold`"):
        pipeline("text-classification", folder)


WRONG_SETTINGS: list[tuple[Any, str]] = [
    ([1], r"settings must be a mapping, but are \[1\]"),
    (None, "settings must be a mapping, but are None"),
    ({"threshold": "high"}, "`threshold` must be of type float, but is 'high'"),
    ({"threshold": 7}, "`threshold` must be between 0 and 1, but is 7"),
    ({"labels": "ab"}, "`labels` must be of type Sequence"),
    ({"labels": ["a", 1]}, "`labels` must be of type Sequence"),
    ({"labels": ["a", "a"]}, "`labels` must not name a label twice"),
    ({"labels": ["a", "b", "c"]}, "name 3 labels, but the model has 2 classes"),
    ({"problem": "evil"}, "`problem` must be one of `single_label_classification`, .*'evil'"),
    ({"max_length": 10**6}, "`max_length` must be at most 64, the model's own"),
    ({"max_length": "x", "text_column": 3}, "`max_length` .*\n`text_column` must be of type str"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG_SETTINGS, ids=lambda value: str(value)[:40])
def test_wrong_settings_of_a_folder_are_refused(folder: Path, settings: Any, said: str) -> None:
    stored = {"task": "text-classification", "settings": settings}
    (folder / "abrazo.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match=said):
        pipeline("text-classification", folder)


def test_head_that_a_family_lacks_is_refused_with_those_it_has(folder: Path) -> None:
    set_config(folder, model_type="distilbert")
    with pytest.raises(ConfigError, match="distilbert models have no head 'next_sentence', only"):
        load_model(folder, "next_sentence")


# Nothing runs ------------------------------------------------------------------------------


def test_loading_runs_opens_and_asks_for_nothing_outside_the_folder(
    folder: Path, tmp_path: Path
) -> None:
    """What a folder holds cannot make python import, start, call or open anything else."""
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w').close()\n"
    for name in ("modeling_evil.py", "__init__.py", "setup.py", "bert.py", "torch.py"):
        (folder / name).write_text(code)
    auto_map = {"AutoModel": "modeling_evil.EvilModel", "AutoTokenizer": ["x.Y", None]}
    set_config(folder, auto_map=auto_map, custom_pipelines={"x": {"impl": "modeling_evil.P"}})
    file = folder / "tokenizer_config.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "auto_map": auto_map, "tokenizer_class": "Evil"}))
    load_model(folder).tokenizer.encode("film")  # what python loads by itself is loaded now

    seen: list[str] = []
    is_watching = True
    inside = (str(folder), "/dev/null", "/proc/", "/sys/")
    forbidden = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.")

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if not is_watching:
            return
        if event.startswith((*forbidden, "pickle.", "compile", "exec", "import")):
            seen.append(f"{event} {str(args)[:200]}")
        elif event == "open" and isinstance(args[0], str | bytes):
            path = os.path.abspath(os.fsdecode(args[0]))
            if not path.startswith(inside):
                seen.append(f"open {path}")

    before = set(sys.modules)
    sys.addaudithook(watch)  # a hook cannot be taken away again, only be told to stop
    model = load_model(folder)
    model.tokenizer.encode("a fine film")
    is_watching = False
    assert not seen
    assert not mark.exists()
    assert set(sys.modules) == before


def test_masked_lm_of_a_classifier_tells_what_is_new(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    AutoModelForMaskedLM.from_pretrained(folder)
    assert "`head` is not in" in caplog.text
