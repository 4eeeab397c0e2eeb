"""The loss over whole vocabularies is torch's, and so is its gradient."""

import pytest
import torch
import torch.nn.functional as F

from abrazo.heads import cross_entropy as module
from abrazo.heads.cross_entropy import IGNORED_LABEL, summed_cross_entropy

CLASSES = 1_500


def scores_of(rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    logits = (torch.randn(rows, CLASSES, generator=generator) * 3).to(dtype)
    return logits, torch.randint(0, CLASSES, (rows,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("ignored", [[], [0, 5], range(7)], ids=["none", "some", "all"])
def test_loss_and_gradient_are_those_of_torch(smoothing, dtype, ignored, monkeypatch):
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 3 * CLASSES)
    logits, labels = scores_of(7, dtype)
    labels[list(ignored)] = IGNORED_LABEL
    one, other = (logits.clone().requires_grad_() for _ in range(2))
    found = summed_cross_entropy(one, labels, smoothing)
    expected = F.cross_entropy(other.float(), labels, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    (2 * found).backward()
    (2 * expected).backward()
    tolerance = 2e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(one.grad, other.grad, atol=tolerance, rtol=tolerance)


def test_loss_without_gradients_is_the_same():
    logits, labels = scores_of(5, torch.float32)
    with torch.inference_mode():
        found = summed_cross_entropy(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="sum"))
    assert not found.requires_grad


def test_no_rows_have_no_loss():
    logits, labels = scores_of(0, torch.float32)
    total = summed_cross_entropy(logits.requires_grad_(), labels)
    total.backward()
    assert total == 0
    assert logits.grad.shape == (0, CLASSES)


def test_a_label_that_is_no_class_is_refused():
    logits, labels = scores_of(3, torch.float32)
    labels[1] = CLASSES
    with pytest.raises((IndexError, RuntimeError)):
        summed_cross_entropy(logits, labels)
