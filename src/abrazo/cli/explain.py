"""`abrazo explain`: a model's parts, their sizes, and how much of the work each one does.

The work is counted from the sizes of the layers, in multiplications and additions (operations) for
one text of T tokens: a product with an (I, O) matrix is 2 I O for each token it is made for;
attention besides is 4 T E for each token, for scores and for mixing; an embedding is a look-up and
a sum of E. Norms, activations and softmax are left out: they are below one in a hundred.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abrazo.errors import AbrazoError, ConfigError

if TYPE_CHECKING:
    from torch import nn

    from abrazo.models.base import PretrainedModel
    from abrazo.tokenization.tokenizer import Tokenizer

EXAMPLE = "Unusually long words are split. 长的词会被切开。"
USUAL_TOKENS = 128

_MOST_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a model, or one part of each of several equal blocks."""

    name: str
    """Where it is, as `model.` leads to it."""
    purpose: str
    """What it does, in a few words."""
    shapes: tuple[str, ...]
    """Its tensors with their shapes."""
    times: int
    """How many of it there are."""
    parameters: int
    """Weights of all of them; shared ones count where they are first."""
    operations: int
    """Multiplications and additions for one text, in all of them."""


PURPOSES = {
    "embeddings.tokens": "word embedding: a vector for each piece of the vocabulary",
    "embeddings.positions": "position embedding: a vector for each place in the text",
    "embeddings.segments": "segment embedding: first or second text of a pair",
    "embeddings.norm": "brings the sum to a common scale",
    "cross_attention": "cross-attention: each token gathers from all tokens of its source",
    "attention": "self-attention: each token gathers from all tokens of its text",
    "feedforward": "feed-forward: each token by itself, through a wider layer",
    "norm": "brings the sum with what came before to a common scale",
    "pooler": "one vector for the text, from its first token",
    "head": "from vectors to the answer",
}
"""What parts are for, by the end of their names; the first that fits."""


def explain(
    model: str,
    /,
    *,
    tokens: int | None = None,
    text: str = EXAMPLE,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    revision: str | None = None,
    task: str | None = None,
    model_class: str | None = None,
) -> None:
    """Show what a model is made of: its parts, configuration, labels, and tokenizer.

    The share of the work is counted from the sizes of the layers, for one text of `--tokens`
    tokens, in multiplications and additions; norms and activations are left out.

    Args:
        model: A folder, also of a training run, a name, or a repository.
        tokens: Length of the text for which the work is counted; 128 unless given, or what the
            model reads at most.
        text: A text to show how the tokenizer splits it.
        as_json: Print everything as JSON.
        revision: Branch, tag or commit, for a model of a hub.
        task: The task where it is your own, as `my_file.py:MyTask`.
        model_class: The model's class where its family is your own, as `my_file.py:MyModel`.
    """
    from abrazo.models.auto import load_model
    from abrazo.tasks.auto import task_type

    load = load_model if task is None else task_type(task).load_model
    loaded = load(model, revision=revision, model_class=model_class)
    if tokens is None:
        tokens = min(USUAL_TOKENS, loaded.max_length)
    if not 1 <= tokens <= loaded.max_length:
        raise ConfigError(
            f"`--tokens` must be from 1 to {loaded.max_length}, what the model reads at most, "
            f"but is {tokens}."
        )
    found = description(loaded, tokens=tokens, text=text)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False, default=str))
    else:
        _show(found, Console())


def description(model: "PretrainedModel", *, tokens: int, text: str) -> dict[str, Any]:
    """Return all there is to tell of a model, fit for JSON.

    Args:
        model: The model.
        tokens: Length of the text for which the work is counted.
        text: Split as an example.
    """
    parts = list(parts_of(model, tokens))
    parameters, operations = model.num_parameters(), sum(part.operations for part in parts)
    return {
        "class": type(model).__name__,
        "family": model.config.model_type,
        "head": model.head_name or None,
        "task": model.task_settings.get("task"),
        "source": str(model.source),
        "max_length": model.max_length,
        "parameters": parameters,
        "memory": {"fp32_bytes": 4 * parameters, "bf16_bytes": 2 * parameters},
        "tokens": tokens,
        "operations": operations,
        "parts": [
            {
                **dataclasses.asdict(part),
                "share_of_parameters": part.parameters / max(1, parameters),
                "share_of_operations": part.operations / max(1, operations),
            }
            for part in parts
        ],
        "labels": model.config.labels if _has_classes(model) else None,
        "config": model.config.to_dict(),
        "tokenizer": _tokenizer(model, text),
    }


def parts_of(model: "PretrainedModel", tokens: int) -> Iterator[Part]:
    """Yield the parts of a model in the order of computing.

    Args:
        model: The model.
        tokens: Length of the text for which the operations are counted.
    """
    counted: set[int] = set()
    for place, stack in model.backbone.stacks.items():
        for name, child in stack.embeddings.named_children():
            if _has_weights(child):
                yield _part(f"{place}embeddings.{name}", [child], tokens, counted)
        blocks = list(stack.blocks)
        for name, child in blocks[0].named_children() if blocks else ():
            if _has_weights(child):
                same = [block.get_submodule(name) for block in blocks]
                yield _part(f"{place}blocks.{name}", same, tokens, counted)
    if model.pooler is not None:
        yield _part("pooler", [model.pooler], 1, counted)
    if model.head is not None:
        yield _part("head", [model.head], tokens if model.head.per_token else 1, counted)


def _part(name: str, same: "list[nn.Module]", tokens: int, counted: set[int]) -> Part:
    """Describe equal modules as one; weights in `counted` are not counted again."""
    weights = [weight for module in same for weight in module.parameters()]
    new = {id(weight): weight.numel() for weight in weights if id(weight) not in counted}
    counted.update(new)
    return Part(
        name=name,
        purpose=_purpose(name),
        shapes=tuple(
            f"{path or 'weight'} {tuple(weight.shape)}"
            for path, weight in same[0].named_parameters()
        ),
        times=len(same),
        parameters=sum(new.values()),
        operations=sum(_operations(module, tokens) for module in same),
    )


def _has_weights(module: "nn.Module") -> bool:
    return any(True for _ in module.parameters())


def _purpose(name: str) -> str:
    return next((words for end, words in PURPOSES.items() if name.endswith(end)), "")


def _operations(module: "nn.Module", tokens: int) -> int:
    from torch import nn

    from abrazo.layers.attention import Attention
    from abrazo.layers.cross_attention import CrossAttention

    total = 0
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            total += 2 * layer.in_features * layer.out_features * tokens
        elif isinstance(layer, nn.Embedding):
            total += layer.embedding_dim * tokens
        elif isinstance(layer, Attention | CrossAttention):
            total += 4 * tokens * tokens * layer.num_heads * layer.head_width
    return total


def _has_classes(model: "PretrainedModel") -> bool:
    return model.head_name in ("sequence_classification", "token_classification")


def _tokenizer(model: "PretrainedModel", text: str) -> dict[str, Any] | None:
    try:
        tokenizer: Tokenizer = model.tokenizer
    except AbrazoError as error:
        return {"problem": str(error)}
    return {
        "vocabulary": len(tokenizer),
        "special_tokens": dict(tokenizer.special_tokens_map),
        "text": text,
        "pieces": tokenizer.convert_ids_to_tokens(tokenizer.encode(text)),
    }


# Shown


def _show(found: Mapping[str, Any], console: Console) -> None:
    for table in (_summary(found), _parts(found), _fields(found), _pieces(found)):
        console.print(table)
        console.print()


def _summary(found: Mapping[str, Any]) -> Table:
    memory = found["memory"]
    rows = {
        "model": f"{found['class']} ({found['family']})",
        "from": found["source"],
        "task": found["task"] or "none stored",
        "reads at most": f"{found['max_length']:,} tokens",
        "parameters": f"{found['parameters']:,}",
        "memory of the weights": f"{_bytes(memory['fp32_bytes'])} in fp32, "
        f"{_bytes(memory['bf16_bytes'])} in bf16",
        "work": f"{_count(found['operations'])} operations for a text of {found['tokens']} tokens",
    }
    if found["labels"] is not None:
        rows["labels"] = _listed(found["labels"])
    return _named_rows("", rows)


def _parts(found: Mapping[str, Any]) -> Table:
    table = Table(title="Parts", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for heading in ("part", "tensors", "parameters", "share", "work"):
        right = heading in ("parameters", "share", "work")
        table.add_column(heading, justify="right" if right else "left", no_wrap=right)
    for part in found["parts"]:
        times = f" × {part['times']}" if part["times"] > 1 else ""
        tensors = [shape for shape in part["shapes"] if "bias" not in shape.split()[0]]
        table.add_row(
            Text.assemble((part["name"] + times, "bold"), f"\n{part['purpose']}"),
            Text("\n".join(shape.replace(".weight", "") for shape in tensors)),
            f"{part['parameters']:,}",
            f"{part['share_of_parameters']:.1%}",
            f"{part['share_of_operations']:.1%}",
        )
    return table


def _fields(found: Mapping[str, Any]) -> Table:
    hidden = ("extra", "id2label")
    config = {name: value for name, value in found["config"].items() if name not in hidden}
    return _named_rows("Configuration", config)


def _pieces(found: Mapping[str, Any]) -> Table:
    tokenizer = found["tokenizer"]
    if "problem" in tokenizer:
        return _named_rows("Tokenizer", {"none": tokenizer["problem"]})
    special = [f"{role} {token}" for role, token in tokenizer["special_tokens"].items()]
    return _named_rows(
        "Tokenizer",
        {
            "vocabulary": f"{tokenizer['vocabulary']:,} pieces",
            "special tokens": ", ".join(special),
            "a text": tokenizer["text"],
            "in pieces": " · ".join(tokenizer["pieces"]),
        },
    )


def _named_rows(title: str, rows: Mapping[str, object]) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(name, Text(str(value)))
    return table


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f", ... ({len(shown)} in all)" if len(shown) > _MOST_SHOWN else ""
    return ", ".join(shown[:_MOST_SHOWN]) + more


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _count(number: int) -> str:
    for size, name in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,}"
