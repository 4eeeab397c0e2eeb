"""Classes made for heads that are not in a table: a user's own, or those of a user's own family."""

import copyreg
import functools
from typing import Any

from abrazo.models.base import PretrainedModel
from abrazo.models.family import HeadPlan


class _MadeClass(type):
    """The kind of classes that are made here: they are pickled as what they were made of."""

    made_of: tuple[type[PretrainedModel], str, HeadPlan | None]


def own_class(
    kind: type[PretrainedModel], head: str, plan: HeadPlan | None = None
) -> type[PretrainedModel]:
    """Return the class of a family with a head, the same one for the same head.

    Args:
        kind: Any class of the family.
        head: The head wished; `""` for the bare backbone.
        plan: How the head is built, where the family does not have it.

    Raises:
        ConfigError: The family has a head of that name already, or the name is no name.
    """
    if plan is None and kind.head_name == head:
        return kind
    return _make(kind, head, plan)  # type: ignore[arg-type]  # a class can be hashed


@functools.cache
def _make(kind: type[PretrainedModel], head: str, plan: HeadPlan | None) -> type[PretrainedModel]:
    family = kind.family if plan is None else kind.family.with_head(head, plan)
    stem = kind.__name__.partition("For")[0].removesuffix("Model")
    title = "".join(part[:1].upper() + part[1:] for part in head.split("_"))
    body: dict[str, Any] = {
        "family": family,
        "head_name": head,
        "made_of": (kind, head, plan),
        "__doc__": f"{stem} with the head `{head}`." if head else "The bare backbone.",
    }
    name = f"{stem}For{title}" if head else f"{stem}Model"
    made: type[PretrainedModel] = _MadeClass(name, (PretrainedModel,), body)  # type: ignore[assignment]
    return made


def _reduce(made: _MadeClass) -> tuple[Any, ...]:
    return own_class, made.made_of


copyreg.pickle(_MadeClass, _reduce)
