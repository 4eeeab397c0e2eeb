"""One comparison for all families of encoders: a model of `transformers`, ours, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from abrazo.models.auto import AutoModel, load_model
from abrazo.models.base import PretrainedModel
from helpers.tiny import padded, random_batch, scramble, tiny_tokenizer

VOCAB_SIZE = 40
HEAD_CLASSES = {
    "": "Model",
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
    "masked_lm": "ForMaskedLM",
}
"""How `transformers` calls the class of a head, after the family's name."""
UNUSED = {"lm_head.bias", "predictions.bias", "cls.predictions.bias"}
"""Weights that untied models of `transformers` have but do not use."""
TINY: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


def inputs_for(
    config: transformers.PreTrainedConfig, lengths: tuple[int, ...], *, extra: int = 2
) -> dict[str, Tensor]:
    """Return a batch padded on the right with the padding id, segments where there are some."""
    segments = getattr(config, "type_vocab_size", 0)
    batch = random_batch(lengths, vocab_size=VOCAB_SIZE, segments=segments)
    inputs = padded(batch, extra=extra)
    is_padding = inputs["attention_mask"] == 0
    inputs["input_ids"][is_padding] = config.pad_token_id
    return inputs


def labels_for(head: str, config: Any, mask: Tensor) -> dict[str, Tensor]:
    """Return random labels; padding has none."""
    generator = torch.Generator().manual_seed(11)
    if head == "sequence_classification":
        kind, shape = config.problem_type, (len(mask), config.num_labels)
        if config.num_labels == 1:
            return {"labels": torch.randn(len(mask), generator=generator)}
        if kind == "multi_label_classification":
            return {"labels": torch.randint(0, 2, shape, generator=generator).float()}
        return {"labels": torch.randint(0, config.num_labels, shape[:1], generator=generator)}
    if head == "question_answering":
        return {"start_positions": mask.sum(1) // 2, "end_positions": mask.sum(1) - 1}
    high = {"masked_lm": VOCAB_SIZE, "pretraining": 2}.get(head, config.num_labels)
    labels = torch.randint(0, high, mask.shape, generator=generator)
    return {"labels": labels.where(mask.bool(), -100)}


def expected_loss(head: str, outputs: Any, labels: Mapping[str, Tensor], mask: Tensor) -> Tensor:
    """Return their loss; that of spans without padding, to which theirs gives a share."""
    if head != "question_answering":
        return outputs.loss  # type: ignore[no-any-return]
    parts = [
        F.cross_entropy(outputs[f"{end}_logits"].masked_fill(mask == 0, -torch.inf), places)
        for end, places in zip(("start", "end"), labels.values(), strict=True)
    ]
    return sum(parts) / 2  # type: ignore[return-value]


def load_pair(
    theirs: transformers.PreTrainedModel, head: str, folder: Path
) -> tuple[PretrainedModel, Path]:
    """Scramble their model, save it with a tokenizer, and load ours from there."""
    scramble(theirs)
    theirs.eval().save_pretrained(folder / "theirs")
    tiny_tokenizer().save_pretrained(folder / "theirs")
    ours = (
        load_model(folder / "theirs", head)
        if head
        else AutoModel.from_pretrained(folder / "theirs")
    )
    return ours, folder / "theirs"


def assert_same_answers(
    theirs: transformers.PreTrainedModel,
    ours: PretrainedModel,
    head: str,
    *,
    lengths: tuple[int, ...] = (7, 3, 12, 5),
    atol: float = 1e-5,
) -> None:
    """Compare every output at every token, inner states, and the loss and its gradient."""
    inputs = inputs_for(theirs.config, lengths)
    mask = inputs["attention_mask"]
    labels = labels_for(head, theirs.config, mask) if head else {}
    states = {"output_hidden_states": True, "output_attentions": True}
    expected, found = theirs(**inputs, **labels, **states), ours(**inputs, **labels, **states)
    for name in found.keys():  # noqa: SIM118  an output iterates over values
        if name == "attentions":
            real = (mask[:, :, None] * mask[:, None, :])[:, None]
            pairs = [
                (mine * real, yours * real)
                for mine, yours in zip(found[name], expected[name], strict=True)
            ]
        elif name == "hidden_states":
            pairs = list(zip(found[name], expected[name], strict=True))
        elif name == "loss":
            pairs = [(found.loss, expected_loss(head, expected, labels, mask))]
        else:
            pairs = [(found[name], expected[name].reshape(found[name].shape))]
        for mine, yours in pairs:
            is_by_token = mine.shape[:2] == mask.shape
            here = mask.bool() if is_by_token else ...
            torch.testing.assert_close(mine[here], yours[here], atol=atol, rtol=atol)
    with torch.no_grad():  # other kernels
        again = ours(**inputs)
    for name in again.keys():  # noqa: SIM118
        here = mask.bool() if again[name].shape[:2] == mask.shape else ...
        torch.testing.assert_close(again[name][here], found[name][here], atol=atol, rtol=atol)
    if not head:
        return
    assert found.loss is not None
    assert_same_gradients(theirs, ours, expected_loss(head, expected, labels, mask), found.loss)


def assert_same_gradients(
    theirs: transformers.PreTrainedModel, ours: PretrainedModel, expected: Tensor, found: Tensor
) -> None:
    """Compare the gradient of the loss at the embeddings, through every layer."""
    expected.backward()
    found.backward()
    mine = ours.backbone.word_embeddings.weight.grad
    yours = theirs.get_input_embeddings().weight.grad
    assert mine is not None
    assert (mine - yours).norm() <= 1e-4 * yours.norm() + 1e-6
    assert not [name for name, weight in ours.named_parameters() if weight.grad is None]


def assert_back_and_forth(
    theirs: transformers.PreTrainedModel, ours: PretrainedModel, folder: Path
) -> None:
    """Save ours, load it with `transformers` and with abrazo: every bit is the same."""
    ours.save_pretrained(folder / "ours")
    back, report = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
    missing = report.pop("missing_keys") - UNUSED
    assert not missing
    assert not any(report.values()), report
    wanted = theirs.state_dict()
    for name, weight in back.state_dict().items():
        assert name in UNUSED or torch.equal(weight, wanted[name]), name
    again = type(ours).from_pretrained(folder / "ours")
    for (name, weight), (_, other) in zip(
        ours.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(weight, other), name
    assert again.config == ours.config.replace(extra=again.config.extra)


def check(theirs: transformers.PreTrainedModel, head: str, folder: Path, **options: Any) -> None:
    """Compare answers, then files, of a model of `transformers` and ours."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would spend their time waiting for each other
    try:
        ours, _ = load_pair(theirs, head, folder)
        assert_same_answers(theirs, ours, head, **options)
        assert_back_and_forth(theirs, ours, folder)
    finally:
        torch.set_num_threads(num_threads)


def hf_model(family: str, head: str, **fields: Any) -> transformers.PreTrainedModel:
    """Return a small random model of `transformers` without dropout."""
    if head == "question_answering":  # theirs scores as many things as there are labels
        fields = {**fields, "num_labels": 2}
    config_type = getattr(transformers, f"{family}Config")
    config = config_type(**fields, attn_implementation="eager")
    name = {**HEAD_CLASSES, "pretraining": "ForPreTraining"}[head]
    return getattr(transformers, family + name)(config)  # type: ignore[no-any-return]
