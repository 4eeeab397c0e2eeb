"""One comparison for all encoder-decoders: a model of `transformers`, ours, and back."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from helpers.tiny import scramble

VOCAB_SIZE = 40
UNUSED = {
    *("model.shared.weight", "decoder.cls.predictions.bias"),
    *("encoder.pooler.dense.weight", "encoder.pooler.dense.bias"),
}
"""What models of `transformers` have but do not read, some of it where nothing is shared alone."""
COMPUTED = "embed_positions.weight"
"""Sines, which some models of `transformers` look for in files and compute where there are none."""
SPECIAL = 4
"""Ids below are special tokens in all these tiny models."""


def rows(lengths: tuple[int, ...], *, seed: int, pad: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return random ids, padded on the right, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), columns)
    ids = torch.randint(SPECIAL, VOCAB_SIZE, shape, generator=generator)
    mask = (torch.arange(columns) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, pad), mask


def inputs_for(config: Any) -> dict[str, Tensor]:
    """Return sources of several lengths, and labels of others."""
    pad = config.pad_token_id
    ids, mask = rows((7, 3, 12, 5), seed=1, pad=pad, columns=13)
    labels, is_label = rows((4, 9, 1, 6), seed=2, pad=pad, columns=9)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels.masked_fill(is_label == 0, -100),
    }


def load_pair(
    theirs: transformers.PreTrainedModel, folder: Path
) -> tuple[transformers.PreTrainedModel, PretrainedModel]:
    """Scramble their model, save it, and load ours from there."""
    frozen = {n: w.detach().clone() for n, w in theirs.named_parameters() if not w.requires_grad}
    scramble(theirs)
    theirs.load_state_dict(frozen, strict=False)  # sines are no weights
    theirs.eval().save_pretrained(folder / "theirs")
    return theirs, load_model(folder / "theirs")


def assert_same_answers(theirs: transformers.PreTrainedModel, ours: PretrainedModel) -> None:
    """Compare every output, inner states, and the loss with all its gradients."""
    inputs = inputs_for(theirs.config)
    states = {"output_hidden_states": True, "output_attentions": True}
    if not ours.head_name:
        inputs["decoder_input_ids"] = inputs.pop("labels").clamp(min=SPECIAL)
        is_target = torch.ones_like(inputs["decoder_input_ids"])
    else:
        is_target = (inputs["labels"] != -100).long()
    expected, found = theirs(**inputs, **states), ours(**inputs, **states)
    is_source = inputs["attention_mask"]
    masks = {
        "decoder_hidden_states": is_target,
        "decoder_attentions": is_target[:, :, None] * is_target[:, None],
        "cross_attentions": is_target[:, :, None] * is_source[:, None],
        "encoder_last_hidden_state": is_source,
        "encoder_hidden_states": is_source,
        "encoder_attentions": is_source[:, :, None] * is_source[:, None],
    }
    for name in found.keys():  # noqa: SIM118  an output iterates over values
        mine, yours = found[name], expected[name]
        pairs = zip(mine, yours, strict=True) if isinstance(mine, tuple) else [(mine, yours)]
        mask = masks.get(name, is_target).bool()
        for ours_, theirs_ in pairs:
            assert ours_.shape == theirs_.shape, name
            if name.endswith("attentions"):
                ours_, theirs_ = ours_.transpose(0, 1)[:, mask], theirs_.transpose(0, 1)[:, mask]
            elif name != "loss":
                ours_, theirs_ = ours_[mask], theirs_[mask]
            torch.testing.assert_close(ours_, theirs_, atol=1e-5, rtol=1e-5, msg=name)
    with torch.no_grad():  # other kernels
        again = ours(**inputs)
    main = "logits" if ours.head_name else "last_hidden_state"
    mask = is_target.bool()
    torch.testing.assert_close(again[main][mask], found[main][mask], atol=1e-5, rtol=1e-5)
    if ours.head_name:
        expected.loss.backward()
        found.loss.backward()
        assert_same_gradients(theirs, ours)


def assert_same_gradients(theirs: transformers.PreTrainedModel, ours: PretrainedModel) -> None:
    """Compare the gradient of the loss at every weight, by the names of files."""
    mine = {
        name: weight.grad if weight.grad is not None else torch.zeros_like(weight)
        for name, weight in ours.named_parameters()
    }
    wanted = dict(theirs.named_parameters(remove_duplicate=False))
    compared = 0
    for name, gradient in ours.key_map().to_hf(mine).items():
        if name not in wanted:  # what is no weight there
            continue
        yours = wanted[name].grad
        assert yours is not None, name
        error = (gradient - yours).norm()
        assert error <= 1e-4 * yours.norm() + 1e-6, (name, error)
        compared += 1
    assert compared >= len(mine) - 2


def assert_back_and_forth(
    theirs: transformers.PreTrainedModel, ours: PretrainedModel, folder: Path
) -> None:
    """Save ours, load it with `transformers` and with abrazo: every bit is the same."""
    ours.save_pretrained(folder / "ours")
    back, report = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
    missing = {name for name in report.pop("missing_keys") if not name.endswith(COMPUTED)}
    assert not missing - UNUSED
    assert not any(report.values()), report
    wanted = theirs.state_dict()
    assert back.state_dict().keys() == wanted.keys()
    for name, weight in back.state_dict().items():
        assert name in missing or torch.equal(weight, wanted[name]), name
    again = load_model(folder / "ours")
    assert type(again) is type(ours)
    for (name, weight), (_, other) in zip(
        ours.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(weight, other), name
    assert again.config == ours.config.replace(extra=again.config.extra)
    inputs = inputs_for(theirs.config)
    if not ours.head_name:
        inputs["decoder_input_ids"] = inputs.pop("labels").clamp(min=SPECIAL)
    with torch.no_grad():
        torch.testing.assert_close(back(**inputs)[0], theirs(**inputs)[0], atol=1e-6, rtol=1e-6)


def check(theirs: transformers.PreTrainedModel, folder: Path) -> None:
    """Compare answers, then files, of a model of `transformers` and ours."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would spend their time waiting for each other
    try:
        theirs, ours = load_pair(theirs, folder)
        assert_same_answers(theirs, ours)
        assert_back_and_forth(theirs, ours, folder)
    finally:
        torch.set_num_threads(num_threads)


def packed(inputs: dict[str, Tensor], ours: Any) -> PackedBatch:
    """Return padded inputs with labels as a packed batch."""
    is_source, is_label = inputs["attention_mask"].bool(), inputs["labels"] != -100
    labels, layout = inputs["labels"][is_label], Layout(is_label.sum(1).numpy())
    return PackedBatch(
        input_ids=ours.config.shift_right(labels, layout),
        layout=layout,
        labels=labels,
        source=PackedBatch(inputs["input_ids"][is_source], Layout(is_source.sum(1).numpy())),
    )
