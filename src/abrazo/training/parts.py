"""The rows of several tasks that are learned together, as users bring them."""

from collections.abc import Mapping

from abrazo.data.mixture import Mixture
from abrazo.errors import ConfigError, DataError, did_you_mean
from abrazo.models.base import PretrainedModel
from abrazo.models.multi_task import MultiTaskModel


def rows_by_task(model: PretrainedModel, data: object, *, all_tasks: bool = True) -> object:
    """Return the data of a model of several tasks as a mixture, and that of others as it is.

    Args:
        model: The model.
        data: What the user gave: for several tasks a dict of data sets, or a `Mixture`.
        all_tasks: Whether there must be rows for each task.

    Raises:
        ConfigError: There are rows for a task that the model does not have, or none for one.
        DataError: The data is not by task, or cannot be read.
    """
    if data is None:
        return None
    if not isinstance(model, MultiTaskModel):
        if isinstance(data, Mixture):
            raise ConfigError(
                f"Rows of several tasks need a `MultiTaskModel`, but this is a "
                f"{type(model).__name__}."
            )
        return data
    if not isinstance(data, Mixture | Mapping):
        raise DataError(
            f"The model learns several tasks ({', '.join(model.names)}), so its data must be rows "
            f"by task, `{{{model.names[0]!r}: rows, ...}}`, but is a `{type(data).__name__}`."
        )
    given = list(data.sources if isinstance(data, Mixture) else data)
    problems = [
        f"There are rows for the task {name!r:.80}, which the model does not have."
        f"{did_you_mean(str(name), model.names)}"
        for name in given
        if name not in model.names
    ]
    if all_tasks:
        problems += [
            f"There are no rows for the task `{name}`." for name in model.names if name not in given
        ]
    if problems:
        raise ConfigError("\n".join(problems))
    return data if isinstance(data, Mixture) else Mixture(data)
