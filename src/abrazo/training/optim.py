"""AdamW that passes over the embedding matrix only where training has ever touched it.

In a small model half of the weights are word embeddings, and most of a vocabulary never occurs in
a data set. AdamW leaves a row of the matrix that has not been seen where it is, but for weight
decay, which is a product with a scalar: its moments are zero. So the gradient of the embedding
stays sparse, moments are kept for the rows seen so far, and the result is that of AdamW over the
whole matrix. Once more than half of the rows have been seen, all of them count as seen.

Where layers train in bf16 on a CPU, the gradients of their matrices wait in `Bf16Copy`, which gets
the moved weights at once.

Source: Loshchilov and Hutter 2017, Decoupled Weight Decay Regularization, algorithm 2.

Shapes: V rows of the embedding matrix, K rows seen so far, T tokens of a batch, E width.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.adamw import adamw

from abrazo.errors import CheckpointError
from abrazo.layers.bf16 import Bf16Copy
from abrazo.layers.linear import Linear
from abrazo.layers.norms import RMSNorm
from abrazo.layers.owners import count_owners

_NOT_DECAYED = (nn.LayerNorm, nn.RMSNorm, RMSNorm)
_STACKS = ("", "encoder.", "decoder.")
_BLOCK = re.compile(r"backbone\.(?:encoder\.|decoder\.)?blocks\.(\d+)\.")
_ABOVE_BLOCKS = ("backbone.pooler.", *(f"backbone.{stack}final_norm." for stack in _STACKS))
_SEEN_SHARE = 0.5
"""Above this share of rows seen, gathering them costs more than passing over all of them."""
_MIN_ROWS = 1024
"""A smaller matrix is not worth the care."""


class AdamW:
    """Steps all trainable weights of a model.

    Gradients are taken as sums over targets; `step` scales them on the way, so that neither
    dividing by the number of targets nor clipping costs a pass of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        layer_decay: float = 1.0,
    ) -> None:
        """Prepare the moments; they start at zero.

        Args:
            model: Its weights that require gradients are stepped. Biases and norms do not decay.
            learning_rate: What `step` takes unless told otherwise.
            weight_decay: Share of a weight, times the learning rate, taken away at each step.
            betas: Decay of the first and the second moment.
            eps: Added to the root of the second moment.
            layer_decay: What the learning rate of each block is multiplied with to get that of the
                block below; 1 steps all alike.
        """
        self.learning_rate, self.betas, self.eps = learning_rate, betas, eps
        names = {weight: name for name, weight in model.named_parameters() if weight.requires_grad}
        plain = _never_decayed(model)
        embeddings = _row_embeddings(model)
        for embedding in embeddings.values():
            embedding.sparse = True
        factors = _rate_factors(names.values(), layer_decay)
        self._rows = {
            names[weight]: _RowMoments(weight, weight_decay, factors[names[weight]])
            for weight in names
            if weight in embeddings
        }
        members: dict[tuple[bool, float], dict[str, nn.Parameter]] = {}
        for weight, name in names.items():
            if weight not in embeddings:
                members.setdefault((weight in plain, factors[name]), {})[name] = weight
        layers = {part.weight: part for part in model.modules() if isinstance(part, Linear)}
        self._groups = [
            _Moments(members[is_plain, factor], layers, 0.0 if is_plain else weight_decay, factor)
            for is_plain, factor in sorted(members)
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self._groups:
            group.forget_gradients()
        for rows in self._rows.values():
            rows.forget_gradient()

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of all gradients together."""
        whole = (part for group in self._groups for part in group.gradients())
        sparse = (part for rows in self._rows.values() for part in rows.collect_gradient())
        return _norm_of(itertools.chain(whole, sparse))

    def step(self, learning_rate: float | None = None, *, scale: float = 1.0) -> None:
        """Move every weight that has a gradient.

        Args:
            learning_rate: The rate of this step.
            scale: What the gradients are multiplied with, such as 1 / number of targets.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        settings = _Settings(rate, scale, self.betas, self.eps)
        for group in self._groups:
            group.step(settings)
        for rows in self._rows.values():
            rows.step(settings)

    def state_tensors(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, by name."""
        state: dict[str, Tensor] = {}
        for group in self._groups:
            state |= group.state_tensors()
        for name, rows in self._rows.items():
            state |= rows.state_tensors(name)
        return state

    def load_state_tensors(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_tensors` was taken.

        Raises:
            CheckpointError: The state is that of another model.
        """
        left = dict(state)
        for group in self._groups:
            group.load(left)
        for name, rows in self._rows.items():
            rows.load(name, left)
        if left:
            raise CheckpointError(
                f"The optimiser's state has tensors that this model does not: {sorted(left)[:5]}."
            )


class _Moments:
    """Moments of weights that are stepped whole, all with the same decay and rate."""

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        layers: Mapping[Tensor, Linear],
        weight_decay: float,
        factor: float,
    ) -> None:
        self.weights = dict(weights)
        self.weight_decay, self.factor = weight_decay, factor
        self.first = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.second = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.steps = {name: _count_like(weight) for name, weight in self.weights.items()}
        self._layers = {
            name: layers[weight] for name, weight in self.weights.items() if weight in layers
        }

    def _copies(self) -> dict[str, Bf16Copy]:
        """Return the copies in bf16 where the gradients of some weights wait, by name."""
        copies = {name: layer.bf16_copy for name, layer in self._layers.items()}
        return {name: copy for name, copy in copies.items() if copy is not None}

    def gradients(self) -> Iterator[Tensor]:
        """Yield the gradients; those that wait in bf16 are cast on the way."""
        copies = self._copies()
        for name, weight in self.weights.items():
            if name in copies:
                copies[name].hand_over(weight)
            if weight.grad is not None:
                yield weight.grad

    def forget_gradients(self) -> None:
        for weight in self.weights.values():
            weight.grad = None
        for copy in self._copies().values():
            copy.gradient = None

    @torch.no_grad()
    def step(self, settings: "_Settings") -> None:
        """Move the weights that have a gradient."""
        gradients = list(self.gradients())
        names = [name for name, weight in self.weights.items() if weight.grad is not None]
        _adamw(
            [self.weights[name] for name in names],
            gradients,
            [self.first[name] for name in names],
            [self.second[name] for name in names],
            [self.steps[name] for name in names],
            settings._replace(rate=settings.rate * self.factor),
            self.weight_decay,
        )
        copies = self._copies()
        for name in names:
            if name in copies:
                copies[name].renew(self.weights[name])

    def state_tensors(self) -> dict[str, Tensor]:
        kinds = {"first": self.first, "second": self.second, "step": self.steps}
        return {
            f"{name}.{kind}": tensor
            for kind, tensors in kinds.items()
            for name, tensor in tensors.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        for key, tensor in self.state_tensors().items():
            tensor.copy_(_taken(state, key, tensor.shape))


class _RowMoments:
    """Moments of an embedding matrix, kept for the rows that have been seen, in order of sight."""

    def __init__(self, weight: nn.Parameter, weight_decay: float, factor: float) -> None:
        self.weight = weight
        self.weight_decay, self.factor = weight_decay, factor
        self.steps = _count_like(weight)
        self.rows = torch.empty(0, dtype=torch.int64)  # (K,)
        self.place_of_row = torch.full((len(weight),), -1, dtype=torch.int64)  # (V,)
        self._first, self._second, self._gradient = (
            torch.zeros(0, weight.shape[1], dtype=weight.dtype) for _ in range(3)
        )
        self._touched: Tensor | None = None  # places in the gradient that are not zero

    def collect_gradient(self) -> list[Tensor]:
        """Add up the sparse gradient by row; return the part of it that is not zero."""
        sparse = self.weight.grad
        if sparse is not None:
            self.weight.grad = None
            rows, values = sparse._indices()[0], sparse._values()  # (T,), (T, E)
            unseen = rows[self.place_of_row[rows] < 0]
            if len(unseen):
                self._see(unseen.unique())
            places = self.place_of_row[rows]
            self._gradient.index_add_(0, places, values)
            self._touched = places.unique()
        return [] if self._touched is None else [self._gradient.index_select(0, self._touched)]

    def forget_gradient(self) -> None:
        """Zero what the last batch has touched."""
        self.weight.grad = None
        if self._touched is not None:
            self._gradient.index_fill_(0, self._touched, 0)
            self._touched = None

    @torch.no_grad()
    def step(self, settings: "_Settings") -> None:
        """Move the rows seen so far."""
        self.collect_gradient()
        if self._touched is None:
            return
        settings = settings._replace(rate=settings.rate * self.factor)
        if self.weight_decay:
            self.weight.mul_(1 - settings.rate * self.weight_decay)
        count = len(self.rows)
        is_in_order = count == len(self.weight)
        seen = self.weight if is_in_order else self.weight.index_select(0, self.rows)  # (K, E)
        moments = ([self._first[:count]], [self._second[:count]], [self.steps])
        _adamw([seen], [self._gradient[:count]], *moments, settings, 0.0)
        if not is_in_order:
            self.weight.index_copy_(0, self.rows, seen)
        self.forget_gradient()

    def state_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the moments of the rows seen, and which they are."""
        count = len(self.rows)
        return {
            f"{name}.first": self._first[:count],
            f"{name}.second": self._second[:count],
            f"{name}.step": self.steps,
            f"{name}.rows": self.rows,
        }

    def load(self, name: str, state: dict[str, Tensor]) -> None:
        """Take this matrix's moments out of a state."""
        rows = state.pop(f"{name}.rows", None)
        if rows is None or rows.dim() != 1 or (len(rows) and int(rows.max()) >= len(self.weight)):
            raise CheckpointError(f"The optimiser's state has no good rows for `{name}`.")
        self.rows = rows[:0].clone()
        self.place_of_row.fill_(-1)
        self._see(rows.clone())
        shape = (len(rows), self.weight.shape[1])
        self._first[: len(rows)] = _taken(state, f"{name}.first", shape)
        self._second[: len(rows)] = _taken(state, f"{name}.second", shape)
        self.steps.copy_(_taken(state, f"{name}.step", ()))

    def _see(self, new: Tensor) -> None:
        """Give rows that occur for the first time a place behind the others."""
        known = len(self.rows)
        if known + len(new) > _SEEN_SHARE * len(self.weight):
            self._see_all()
            return
        self._make_room(known + len(new))
        self.place_of_row[new] = torch.arange(known, known + len(new))
        self.rows = torch.cat([self.rows, new])

    def _see_all(self) -> None:
        """Count every row as seen, each in its own place, so that nothing needs gathering."""
        known, first, second = self.rows, self._first, self._second
        total, width = self.weight.shape
        self._first, self._second, self._gradient = (
            torch.zeros(total, width, dtype=self.weight.dtype) for _ in range(3)
        )
        self._first[known], self._second[known] = first[: len(known)], second[: len(known)]
        self.rows = self.place_of_row = torch.arange(total)

    def _make_room(self, count: int) -> None:
        """Grow in doublings: growing copies the moments of all rows seen so far."""
        capacity = len(self._first)
        if count <= capacity:
            return
        more = max(count, 2 * capacity) - capacity
        self._first, self._second, self._gradient = (
            torch.cat([part, part.new_zeros(more, part.shape[1])])
            for part in (self._first, self._second, self._gradient)
        )


class _Settings(NamedTuple):
    """What one step is made with."""

    rate: float
    scale: float
    betas: tuple[float, float]
    eps: float


def _adamw(
    weights: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    settings: _Settings,
    weight_decay: float,
) -> None:
    """Step in place with torch's fused kernel, which divides gradients by its `grad_scale`."""
    if not weights:
        return
    device = weights[0].device
    adamw(
        weights,
        gradients,
        first,
        second,
        [],
        steps,
        fused=True,
        grad_scale=torch.tensor(1 / settings.scale, device=device),
        found_inf=torch.zeros((), device=device),
        amsgrad=False,
        beta1=settings.betas[0],
        beta2=settings.betas[1],
        lr=settings.rate,
        weight_decay=weight_decay,
        eps=settings.eps,
        maximize=False,
    )


def _norm_of(gradients: Iterable[Tensor]) -> float:
    """Return the Euclidean norm of all gradients together.

    On a CPU the norm of each row comes first: torch computes those on all threads, unlike that of a
    whole matrix, and a matrix that was just cast is still in the cache.
    """
    norms, elsewhere = [torch.zeros(1)], []
    for gradient in gradients:
        if gradient.device.type == "cpu":
            rows = gradient.flatten(0, -2) if gradient.dim() > 1 else gradient.view(1, -1)
            norms.append(torch.linalg.vector_norm(rows, dim=-1))
        else:
            elsewhere.append(gradient)
    if elsewhere:
        norms.append(get_total_norm(elsewhere).cpu().view(1))
    return float(torch.linalg.vector_norm(torch.cat(norms)))


def _count_like(weight: Tensor) -> Tensor:
    return torch.zeros((), dtype=torch.float32, device=weight.device)


def _taken(state: dict[str, Tensor], key: str, shape: Sequence[int]) -> Tensor:
    """Take a tensor out of a state.

    Raises:
        CheckpointError: It is not there, or has another shape.
    """
    tensor = state.pop(key, None)
    if tensor is None or tuple(tensor.shape) != tuple(shape):
        found = "is not there" if tensor is None else f"has the shape {tuple(tensor.shape)}"
        raise CheckpointError(
            f"`{key}` of the optimiser's state must have the shape {tuple(shape)}, but {found}."
        )
    return tensor


def _rate_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Return what the learning rate is multiplied with for each weight, by its name.

    Head, pooler and last norm are at the top; one below for each block; embeddings at the bottom.

    Source: Howard and Ruder 2018, ULMFiT, section 3.2; Clark et al. 2020, ELECTRA, appendix B.
    """
    listed = list(names)
    heights: dict[str, int | None] = {}
    for name in listed:
        if found := _BLOCK.match(name):
            heights[name] = int(found[1]) + 1
        else:
            is_bottom = name.startswith("backbone.") and not name.startswith(_ABOVE_BLOCKS)
            heights[name] = 0 if is_bottom else None
    top = 1 + max((height for height in heights.values() if height is not None), default=0)
    return {
        name: decay ** (0 if height is None else top - height) for name, height in heights.items()
    }


def _never_decayed(model: nn.Module) -> set[nn.Parameter]:
    """Return biases and the weights of norms."""
    return {
        weight
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if isinstance(module, _NOT_DECAYED) or name.endswith("bias")
    }


def _row_embeddings(model: nn.Module) -> dict[Tensor, nn.Embedding]:
    """Return the embeddings on the CPU whose matrix no other module shares, by matrix."""
    owners = count_owners(model)
    return {
        module.weight: module
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        and len(module.weight) >= _MIN_ROWS
        and module.weight.requires_grad
        and module.weight.device.type == "cpu"
        and owners[module.weight] == 1
    }
