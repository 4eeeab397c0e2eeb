"""The head that guesses next words scores those tokens alone that have one to guess."""

import pytest
import torch
import torch.nn.functional as F

from abrazo.heads.base import IGNORED_LABEL, Encoded
from abrazo.heads.causal_lm import CausalLMHead, Seq2SeqLMHead
from abrazo.layers.layout import Layout
from abrazo.layers.packing import PackedBatch

WIDTH, VOCABULARY = 16, 40


@pytest.mark.parametrize("kind", [CausalLMHead, Seq2SeqLMHead])
def test_loss_and_gradients_are_those_of_the_labelled_tokens(kind):
    torch.manual_seed(0)
    head = kind(WIDTH, VOCABULARY, bias=True)
    labels = torch.randint(0, VOCABULARY, (45,))
    labels[3:9] = IGNORED_LABEL
    batch = PackedBatch(labels, Layout([20, 25]), labels=labels)
    hidden = torch.randn(45, WIDTH, requires_grad=True)
    answers = head(Encoded(hidden, None, batch))
    loss = head.loss(answers, batch)
    targets = head.targets(batch)
    is_target = targets != IGNORED_LABEL
    assert answers["logits"].shape == (int(is_target.sum()), VOCABULARY)
    assert loss.count == is_target.sum()
    loss.total.backward()
    found = [hidden.grad, *(weight.grad for weight in head.parameters())]

    hidden.grad = None
    head.zero_grad()
    logits = F.linear(hidden[is_target], head.decoder.weight, head.decoder.bias)
    expected = F.cross_entropy(logits, targets[is_target], reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss.total, expected)
    for one, weight in zip(found, (hidden, *head.parameters()), strict=True):
        torch.testing.assert_close(one, weight.grad)
