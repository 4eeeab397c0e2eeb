"""Our BERT against that of `transformers`: outputs, losses, gradients, inner states."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.oracle import HF_BERT, bert_pair, gradients_by_hf_name, hf_parameters
from helpers.tiny import padded, random_batch

CLASSIFIERS = ("sequence_classification", "token_classification")
POOLED = ("sequence_classification", "next_sentence", "pretraining")
HEADS = tuple(head for head in HF_BERT if head)
ONE = ("masked_lm",)
"""For what concerns the backbone alone."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration and the shape of a batch."""

    name: str
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    lengths: tuple[int, ...] = (7, 3, 12, 5)
    extra: int = 0
    left: bool = False
    token_types: bool = True
    mask: bool = True
    positions: bool = False
    hole: bool = False
    heads: tuple[str, ...] = HEADS

    def inputs(self) -> dict[str, Tensor]:
        segments = self.config.get("type_vocab_size", 2)
        batch = random_batch(self.lengths, segments=segments)
        inputs = padded(batch, extra=self.extra, left=self.left)
        if not self.token_types:
            del inputs["token_type_ids"]
        if self.hole:
            inputs["attention_mask"][:, 1] = 0
        if not self.mask:
            del inputs["attention_mask"]
        if self.positions:
            shape = inputs["input_ids"].shape
            inputs["position_ids"] = torch.randint(
                0, 64, shape, generator=torch.Generator().manual_seed(3)
            )
        return inputs


CASES = [
    Case("usual"),
    Case("one-layer-one-head", {"num_hidden_layers": 1, "num_attention_heads": 1}),
    Case("three-layers-eight-heads", {"num_hidden_layers": 3, "num_attention_heads": 8}),
    Case("heads-of-width-one", {"hidden_size": 8, "num_attention_heads": 8}, heads=ONE),
    Case("gelu-tanh", {"hidden_act": "gelu_new"}, heads=ONE),
    Case("gelu-fast", {"hidden_act": "gelu_fast"}, heads=ONE),
    Case("quick-gelu", {"hidden_act": "quick_gelu"}, heads=ONE),
    Case("relu", {"hidden_act": "relu"}),
    Case("silu", {"hidden_act": "silu"}, heads=ONE),
    Case("mish", {"hidden_act": "mish"}, heads=ONE),
    Case("one-segment", {"type_vocab_size": 1}),
    Case("three-segments", {"type_vocab_size": 3}, heads=ONE),
    Case("no-pooler", {"has_pooler": False}, heads=()),
    Case("untied", {"tie_word_embeddings": False}, heads=("masked_lm", "pretraining")),
    Case("large-eps", {"layer_norm_eps": 1e-3}),
    Case("narrow-middle", {"intermediate_size": 1}, heads=ONE),
    Case("seven-labels", {"num_labels": 7}, heads=CLASSIFIERS),
    Case("regression", {"num_labels": 1}, heads=CLASSIFIERS[:1]),
    Case(
        "several-at-once",
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        heads=CLASSIFIERS[:1],
    ),
    Case("single-token", lengths=(1,)),
    Case("single-tokens-among-long-rows", lengths=(1, 60, 1, 33), heads=CLASSIFIERS),
    Case("many-rows", lengths=tuple(range(1, 25)), heads=ONE),
    Case("padding-right", extra=9),
    Case("padding-left", extra=4, left=True),
    Case("mask-with-a-hole", hole=True, lengths=(4, 9, 6), heads=("question_answering",)),
    Case("no-token-types", token_types=False, heads=ONE),
    Case("no-mask", mask=False, lengths=(6, 6, 6), heads=ONE),
    Case("position-ids", positions=True, heads=ONE),
]


def labels_of(head: str, case: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return random labels as both sides take them; padding has none."""
    generator = torch.Generator().manual_seed(11)
    rows, columns = inputs["input_ids"].shape
    mask = inputs.get("attention_mask", torch.ones(rows, columns)).bool()
    count = case.config.get("num_labels", 2)

    def numbers(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    def tokens(high: int) -> Tensor:
        labels = numbers(high, rows, columns)
        kept = mask & (torch.rand(rows, columns, generator=generator) < 0.5)
        kept[0, mask[0].nonzero()[0]] = True
        return labels.where(kept, -100)

    if head == "sequence_classification" and count == 1:
        return {"labels": torch.randn(rows, generator=generator)}
    if head == "sequence_classification" and "problem_type" in case.config:
        return {"labels": numbers(2, rows, count).float()}
    if head == "token_classification":
        return {"labels": tokens(count)}
    if head in ("masked_lm", "pretraining"):
        labels = {"labels": tokens(78)}
        pairs = {"next_sentence_label": numbers(2, rows)} if head == "pretraining" else {}
        return labels | pairs
    if head == "question_answering":
        places = [row.nonzero().squeeze(-1) for row in mask]
        return {
            "start_positions": torch.stack([place[len(place) // 2] for place in places]),
            "end_positions": torch.stack([place[-1] for place in places]),
        }
    return {"labels": numbers(2 if head == "next_sentence" else count, rows)}


def loss_of_theirs(head: str, outputs: Any, labels: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Return their loss; of spans without padding, to which theirs gives a share."""
    if head != "question_answering":
        return outputs.loss
    parts = [
        F.cross_entropy(outputs[f"{end}_logits"].masked_fill(~mask, -torch.inf), places)
        for end, places in zip(("start", "end"), labels.values(), strict=True)
    ]
    return sum(parts) / 2


def assert_same_gradients(ours: Any, theirs: Any) -> None:
    weights = hf_parameters(theirs)
    found = gradients_by_hf_name(ours)
    assert found
    # Some gradients are zero but for rounding, such as those of the bias of keys.
    rounding = 1e-6 * max(float(gradient.norm()) for gradient in found.values())
    for name, gradient in found.items():
        expected = weights[name].grad
        expected = torch.zeros_like(gradient) if expected is None else expected
        error = (gradient - expected).norm()
        assert error <= 1e-4 * expected.norm() + rounding, (
            name,
            float(error),
            float(expected.norm()),
        )
    compared = {id(weights[name]) for name in found}
    learned = {name for name, weight in weights.items() if weight.grad is not None}
    assert not [name for name in learned if id(weights[name]) not in compared]


@pytest.mark.parametrize(
    ("head", "case"),
    [
        pytest.param(head, case, id=f"{head}-{case.name}")
        for case in CASES
        for head in case.heads
        if not (case.left and head in POOLED)  # theirs pools the padding
    ],
)
def test_head_answers_loses_and_learns_as_theirs(head: str, case: Case, tmp_path: Path) -> None:
    theirs, ours = bert_pair(head, tmp_path, **case.config)
    inputs = case.inputs()
    labels = labels_of(head, case, inputs)
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()

    expected = theirs(**inputs, **labels)
    found = ours(**inputs, **labels)
    for name in found.keys():  # noqa: SIM118  an output iterates over values
        value, wanted = found[name], expected[name]
        if name == "loss":
            wanted = loss_of_theirs(head, expected, labels, mask)
        elif value.shape[:2] == mask.shape:
            value, wanted = value[mask], wanted[mask]
        torch.testing.assert_close(value, wanted, atol=1e-5, rtol=1e-5)
    assert "loss" in found.keys()  # noqa: SIM118

    loss_of_theirs(head, expected, labels, mask).backward()
    found.loss.backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backbone_states_attentions_and_gradients_are_theirs(case: Case, tmp_path: Path) -> None:
    theirs, ours = bert_pair("", tmp_path, **case.config)
    inputs = case.inputs()
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
    options = {"output_hidden_states": True, "output_attentions": True}
    expected, found = theirs(**inputs, **options), ours(**inputs, **options)

    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(
        found.last_hidden_state[mask], expected.last_hidden_state[mask], **close
    )
    assert (found.pooler_output is None) == (expected.pooler_output is None)
    assert len(found.hidden_states) == len(expected.hidden_states)
    for state, wanted in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(state[mask], wanted[mask], **close)
    pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
    for weights, wanted in zip(found.attentions, expected.attentions, strict=True):
        assert weights.shape == wanted.shape
        torch.testing.assert_close(weights, wanted * pairs, **close)

    direction = torch.randn(expected.last_hidden_state.shape, generator=torch.Generator())
    direction = direction * mask[..., None]
    goals = [(output.last_hidden_state * direction).sum() for output in (expected, found)]
    if found.pooler_output is not None and not case.left:
        torch.testing.assert_close(found.pooler_output, expected.pooler_output, **close)
        goals = [
            goal + (output.pooler_output**2).sum()
            for goal, output in zip(goals, (expected, found), strict=True)
        ]
    for goal in goals:
        goal.backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("outside", [12, 40], ids=["at padding", "beyond the row"])
def test_answer_outside_its_row_does_not_count(outside: int, tmp_path: Path) -> None:
    _, ours = bert_pair("question_answering", tmp_path)
    inputs = padded(random_batch((5, 9)), extra=6)
    start, end = torch.tensor([1, outside]), torch.tensor([3, outside])
    found = ours(**inputs, start_positions=start, end_positions=end).loss
    alone = ours(
        **{name: value[:1] for name, value in inputs.items()},
        start_positions=start[:1],
        end_positions=end[:1],
    ).loss
    torch.testing.assert_close(found, alone)
