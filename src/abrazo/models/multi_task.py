"""One backbone with several heads, each for a task of its own.

intent = AutoModelForSequenceClassification.from_pretrained("minilm", labels=intents)
slots = AutoModelForTokenClassification.from_pretrained("minilm", labels=tags)
model = MultiTaskModel({"intent": intent, "slots": slots})
model.part("intent")                 # an ordinary model on the same weights
model.save_pretrained("my-model")    # the backbone once, `heads.intent...`, `heads.slots...`
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from abrazo.checkpoints.folder import open_weights
from abrazo.checkpoints.jsonfile import read_json_object
from abrazo.checkpoints.keymap import KeyMap
from abrazo.checkpoints.loading import match_weights
from abrazo.data.mixture import require_task_name
from abrazo.errors import CheckpointError, ConfigError, one_of
from abrazo.heads.base import Head
from abrazo.heads.multi_task import MultiHead
from abrazo.hub.resolve import find_model
from abrazo.layers.devices import find_device
from abrazo.layers.init import SkipInit
from abrazo.models.auto import is_multi_task, model_class
from abrazo.models.base import ABRAZO_FILE, CONFIG_FILE, MAX_SHARD_SIZE, PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.family import TASK_HEADS, Backbone
from abrazo.tokenization.tokenizer import Tokenizer

MULTI_TASK = "multi-task"
"""What a folder of such a model says its task is."""
_TASKS = "tasks"
"""The entry of `abrazo.json` that lists the tasks."""
_UNNAMED: Mapping[str, Any] = {"num_labels": 2, "problem_type": None}
"""What of a configuration belongs to a head."""


class MultiTaskModel(PretrainedModel):
    """Several heads on one backbone."""

    head_name = "multi_task"
    head: MultiHead

    def __init__(self, parts: Mapping[str, PretrainedModel]) -> None:
        """Put the heads of models on one backbone, whose weights are shared and not copied.

        Args:
            parts: A model with a head for each task, all of one shape. The backbone is the first
                one's, with the pooler of the first that has one.

        Raises:
            ConfigError: There is no model, they are of several families or shapes, one has no
                head, or one that is not its family's.
        """
        nn.Module.__init__(self)
        if not isinstance(parts, Mapping) or not parts:
            raise ConfigError(
                "`MultiTaskModel` takes a dict of models by task, such as "
                f"`{{'intent': model, 'slots': other}}`, but was given {parts!r:.80}."
            )
        first = next(iter(parts.values()))
        _require_alike(parts)
        self.family = first.family  # type: ignore[misc]
        self.config = first.config.replace(**_UNNAMED)
        self.backbone = _copy_of(first.backbone)
        self.backbone.pooler = next(
            (part.pooler for part in parts.values() if part.pooler is not None), None
        )
        self.head = MultiHead({name: _head_of(part) for name, part in parts.items()})
        self.task_settings = {}
        self.source, self._tokenizer = first.source, first._tokenizer
        self._word_heads = []
        self._tie_weights()
        self.head.to(first.device, first.dtype)
        self._parts = {name: self._view(name, part) for name, part in parts.items()}
        self.train(first.training)

    def _view(self, name: str, part: PretrainedModel) -> PretrainedModel:
        """Return a model of one head that shares all modules with this one."""
        view = copy.copy(part)
        head = self.head.of(name)
        backbone = _copy_of(self.backbone)
        if not head.needs_pooler:
            backbone.pooler = None
        view._modules = {"backbone": backbone, "head": head}
        return view

    # The parts ---------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return self.head.names

    def part(self, name: str) -> PretrainedModel:
        """Return the model of one task, on the same weights; training one trains both.

        It serves, evaluates and is saved like any other model.

        Raises:
            ConfigError: There is no such task; names the nearest.
        """
        if name not in self._parts:
            raise ConfigError(one_of("The task", name, self.names))
        part = self._parts[name]
        part.source = self.source
        if self._has_tokenizer():
            part.tokenizer = self.tokenizer
        return part

    def part_for(self, head_name: str | None, name: str | None = None) -> PretrainedModel:
        """Return the model of a task by its head, where one task alone has it.

        Args:
            head_name: The head wished; None takes any.
            name: The task, where several have that head.

        Raises:
            ConfigError: No task has the head, several have, or the named one has another.
        """
        fitting = [task for task in self.names if head_name in (None, self._parts[task].head_name)]
        if name is not None and (name not in self._parts or name in fitting):
            return self.part(name)
        listed = ", ".join(f"`{task}` ({self._parts[task].head_name})" for task in self.names)
        if name is not None or not fitting:
            whose = "The model has no task" if name is None else f"The task `{name}` is none"
            raise ConfigError(f"{whose} with the head {head_name!r}. Its tasks are {listed}.")
        if len(fitting) > 1:
            raise ConfigError(
                f"The model has several tasks that could be meant: {', '.join(fitting)}. Choose "
                f"one: `part={fitting[0]!r}`, or `model.part({fitting[0]!r})` of a loaded model."
            )
        return self.part(fitting[0])

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all tasks."""
        return super().tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        for part in self._parts.values():
            part.tokenizer = tokenizer

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off, also as the parts see it."""
        for part in self._parts.values():
            part.train(mode)
        return super().train(mode)

    # Loading and saving --------------------------------------------------------------------

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Load what `save_pretrained` wrote.

        Args:
            name_or_path: A folder or a repository.
            revision: Branch, tag or commit of the repository.
            token: Key for a private repository.
            cache_dir: Where downloads are kept.
            local_files_only: Never ask a hub.
            dtype: What the weights are stored and computed in.
            device: Where the weights go.

        Raises:
            HubError: The name leads to no folder.
            ConfigError: A configuration is wrong, or a head is not known.
            CheckpointError: The folder holds no model of several tasks, or a damaged one.
        """
        place = find_device(device)
        folder = find_model(
            str(name_or_path),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        with torch.device("meta"), SkipInit():
            shape = cls(_empty_parts(folder))
        match = match_weights(
            shape, open_weights(folder), shape.key_map(), shape.family.expectations()
        )
        with SkipInit():
            model = cls(_empty_parts(folder)).to(place, dtype)
        match.fill(model)
        model.source = folder
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int = MAX_SHARD_SIZE) -> None:
        """Write one folder: the backbone once, and each head under the name of its task.

        `transformers` loads the backbone of it; `part(name).save_pretrained` writes a folder of one
        task that it loads whole.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        self.task_settings = {"task": MULTI_TASK, _TASKS: self._tasks()}
        super().save_pretrained(folder, max_shard_size=max_shard_size)

    def _tasks(self) -> dict[str, dict[str, Any]]:
        """Return all that makes the tasks what they are, besides the weights."""
        return {
            name: {
                "head": part.head_name,
                "labels": part.config.labels,
                "problem_type": part.config.problem_type,
                **part.task_settings,
            }
            for name, part in self._parts.items()
        }

    def key_map(self) -> KeyMap:
        """Return the two-way table of tensor names, those of heads behind the task's name."""
        rows = [row for row in self._any_part().key_map().rows if row.ours.startswith("backbone.")]
        for number, (name, part) in enumerate(self._parts.items()):
            rows += [
                row.under(f"head.heads.{number}.", f"{TASK_HEADS}{name}.")
                for row in self.family.head_rows(part.config, part.head_name)
            ]
        return KeyMap(rows)

    def _any_part(self) -> PretrainedModel:
        return next(iter(self._parts.values()))


def _copy_of(backbone: Backbone) -> Backbone:
    """Return another module of the same parts, of which one can be left out."""
    other = copy.copy(backbone)
    other._modules = dict(backbone._modules)
    return other


def _head_of(part: PretrainedModel) -> Head:
    assert part.head is not None
    return part.head


def _require_alike(parts: Mapping[str, PretrainedModel]) -> None:
    """Check that heads can stand on one backbone.

    Raises:
        ConfigError: They cannot; all reasons are listed.
    """
    problems = []
    first_name, first = next(iter(parts.items()))
    shape = _shape_of(first)
    for name, part in parts.items():
        require_task_name(name)
        if not isinstance(part, PretrainedModel) or part.head is None:
            problems.append(
                f"`{name}` must be a model with a head, such as BertForSequenceClassification, but "
                f"is a {type(part).__name__}."
            )
            continue
        if len(part.backbone.stacks) != 1:
            problems.append(f"`{name}` must be an encoder, but {type(part).__name__} writes texts.")
        try:
            model_class(part.family.name, part.head_name)
        except ConfigError as error:
            problems.append(f"`{name}`: {error}")
        differ = [field for field, value in _shape_of(part).items() if shape.get(field) != value]
        if differ:
            problems.append(
                f"`{name}` must be like `{first_name}` but for its head, but these fields of its "
                f"configuration differ: {', '.join(differ)}."
            )
        if sum(part.head is other.head for other in parts.values()) > 1:
            problems.append(f"`{name}` must have a head of its own, not that of another task.")
    if problems:
        raise ConfigError("\n".join(problems))


def _shape_of(part: PretrainedModel) -> dict[str, Any]:
    if not isinstance(part, PretrainedModel):
        return {}
    fields = part.config.replace(**_UNNAMED).to_dict()
    fields.pop("extra")
    return {"model_type": part.config.model_type, **fields}


def _empty_parts(folder: Path) -> dict[str, PretrainedModel]:
    """Return a model of each task that a folder lists, with weights that are not filled.

    Raises:
        ConfigError: A head or a label is wrong.
        CheckpointError: The folder lists no tasks.
    """
    fields = read_json_object(folder / CONFIG_FILE)
    if not is_multi_task(fields) or not (folder / ABRAZO_FILE).exists():
        raise CheckpointError(
            f"`{folder}` holds no model of several tasks. Load it with `load_model`, or put models "
            "together: `MultiTaskModel({'intent': model, 'slots': other})`."
        )
    tasks = read_json_object(folder / ABRAZO_FILE).get(_TASKS)
    if not isinstance(tasks, dict) or not tasks:
        raise CheckpointError(f"`{folder / ABRAZO_FILE}` must list the model's `{_TASKS}`.")
    parts = {}
    for name, entry in tasks.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("head"), str):
            raise CheckpointError(f"`{folder / ABRAZO_FILE}` must say the head of `{name:.80}`.")
        kind = model_class(str(fields.get("model_type")), entry["head"])
        config = kind.family.config.from_hf(fields, where=str(folder / CONFIG_FILE))
        parts[name] = kind(_config_of(config, entry, f"{folder / ABRAZO_FILE}, `{name:.80}`"))
        known = ("task", "settings")
        parts[name].task_settings = {key: entry[key] for key in known if key in entry}
    return parts


def _config_of(config: ModelConfig, entry: Mapping[str, Any], where: str) -> ModelConfig:
    """Return the configuration of one task."""
    labels = entry.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise CheckpointError(f"{where}: `labels` must be a list of texts.")
    try:
        return config.with_labels(labels).replace(problem_type=entry.get("problem_type"))
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
