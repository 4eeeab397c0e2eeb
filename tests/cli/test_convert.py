import pickle
from pathlib import Path

import torch

from abrazo import AutoModelForSequenceClassification
from abrazo.checkpoints.folder import WEIGHTS
from helpers.tiny import tiny_folder
from helpers.training import assert_same_weights


def pickled(folder: Path) -> tuple[Path, torch.nn.Module]:
    """Return a model's folder with pickled weights alone, and the model."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_folder(folder))
    tensors = model.key_map().to_hf({n: w.detach() for n, w in model.named_parameters()})
    torch.save(
        {name: weight.clone() for name, weight in tensors.items()}, folder / "pytorch_model.bin"
    )
    (folder / WEIGHTS).unlink()
    return folder, model


def test_the_command_that_the_error_names_makes_the_model_load(run, tmp_path):
    folder, model = pickled(tmp_path / "old")
    code, _, err = run("explain", folder)
    assert code == 2
    command = f"abrazo convert {folder}"
    assert f"`{command}`" in err
    code, out, err = run(*command.split()[1:])
    assert (code, out) == (0, "")
    assert f"`{folder}`, as safetensors" in err
    assert_same_weights(model, AutoModelForSequenceClassification.from_pretrained(folder))


def test_a_folder_or_a_file_is_converted_to_another_place(run, tmp_path):
    folder, model = pickled(tmp_path / "old")
    assert run("convert", folder, "--output", "new")[0] == 0
    assert run("convert", folder / "pytorch_model.bin", "-o", "newer")[0] == 0
    assert not (folder / WEIGHTS).exists()
    for place in ("new", "newer"):
        loaded = AutoModelForSequenceClassification.from_pretrained(place)
        assert_same_weights(model, loaded)
        assert loaded.tokenizer("a good film")["input_ids"]


def test_what_cannot_be_converted_is_told(run, tmp_path):
    code, _, err = run("convert", tiny_folder(tmp_path / "there"))
    assert (code, "has nothing to convert: no pytorch_model.bin" in err) == (2, True)
    (tmp_path / "bad.bin").write_bytes(pickle.dumps({"weight": print}))
    code, _, err = run("convert", tmp_path / "bad.bin", "-o", "new")
    assert (code, "holds more than plain tensors" in err) == (2, True)
    assert not Path("new").exists()
