"""What loading says of weights that are there and fit, but cannot be used."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from abrazo.errors import CheckpointError
from abrazo.models.bert import BertModel
from helpers.tiny import tiny_bert, tiny_folder


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value):
    folder = tiny_folder(tmp_path / "model", "")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.layer.1.output.dense.bias"][3] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"(?s)no numbers.*1\.feedforward\.down\.bias"):
        BertModel.from_pretrained(folder)


def test_numbers_whose_sum_overflows_are_fine(tmp_path):
    model = tiny_bert("")
    with torch.no_grad():
        model.embeddings.tokens.weight.fill_(3e38)
    model.save_pretrained(tmp_path / "model")
    loaded = BertModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.embeddings.tokens.weight, model.embeddings.tokens.weight)
