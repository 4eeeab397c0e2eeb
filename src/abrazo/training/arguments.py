"""The settings of a training run, under the names users know from `transformers`."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from abrazo.config import Config
from abrazo.errors import ConfigError, one_of

Strategy = Literal["no", "steps", "epoch"]

STRATEGIES = ("no", "steps", "epoch")
SCHEDULES = (
    "linear",
    "cosine",
    "constant",
    "constant_with_warmup",
    "polynomial",
    "inverse_sqrt",
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
REPORTERS = ("tensorboard",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingArguments(Config):
    """How a model is trained. Every field has a default that suits fine-tuning an encoder."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "evaluation_strategy": "eval_strategy",
        "epochs": "num_train_epochs",
        "num_epochs": "num_train_epochs",
        "batch_size": "per_device_train_batch_size",
        "train_batch_size": "per_device_train_batch_size",
        "per_gpu_train_batch_size": "per_device_train_batch_size",
        "eval_batch_size": "per_device_eval_batch_size",
        "per_gpu_eval_batch_size": "per_device_eval_batch_size",
        "lr": "learning_rate",
        "lr_scheduler": "lr_scheduler_type",
        "num_workers": "dataloader_num_workers",
    }

    output_dir: str = "results"
    """Folder of the run: checkpoints, `best/`, logs and the report."""
    overwrite_output_dir: bool = False
    """Start anew and remove the checkpoints of an earlier run from `output_dir`."""
    resume_from_checkpoint: bool | str | None = None
    """True or a checkpoint's path goes on from there; None goes on where the same run stopped;
    False never goes on."""
    run_name: str | None = None
    """A name for the run in reports; None takes that of `output_dir`."""

    num_train_epochs: float = 3.0
    """How often all rows are seen; may be a fraction."""
    max_steps: int = -1
    """Steps to train for, whatever the epochs; -1 lets `num_train_epochs` decide."""
    per_device_train_batch_size: int = 16
    """Rows of a forward and backward pass. They are not padded, whatever their lengths."""
    gradient_accumulation_steps: int = 1
    """Passes whose gradients are added up to one step of the optimizer."""
    per_device_eval_batch_size: int | None = None
    """Accepted for scripts that set it; evaluation fills batches by tokens, not by rows."""

    learning_rate: float = 5e-5
    """The highest learning rate of the run."""
    lr_scheduler_type: str = "linear"
    """How the learning rate changes after the warm-up: linear, cosine, constant,
    constant_with_warmup, polynomial or inverse_sqrt."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0; goes before `warmup_ratio`."""
    warmup_ratio: float = 0.0
    """Share of all steps over which the learning rate rises from 0."""
    layerwise_lr_decay: float = 1.0
    """What the learning rate of each block is multiplied with to get that of the block below, such
    as 0.9; 1 trains all alike."""
    weight_decay: float = 0.0
    """AdamW's decay of weights; biases and norms do not decay."""
    adam_beta1: float = 0.9
    """AdamW's decay of the mean of gradients."""
    adam_beta2: float = 0.999
    """AdamW's decay of the mean of squared gradients."""
    adam_epsilon: float = 1e-8
    """AdamW's guard against division by zero."""
    max_grad_norm: float = 1.0
    """Longer gradients are shortened to this; 0 leaves them as they are."""

    eval_strategy: str | None = None
    """When to evaluate while training: no, steps or epoch; None means steps where `eval_steps` is
    set, else each epoch, where there is an evaluation set."""
    eval_steps: int | None = None
    """Steps between evaluations with `eval_strategy` steps; None takes `logging_steps`."""
    save_strategy: str | None = None
    """When to save a checkpoint: no, steps or epoch; None means steps where `save_steps` is set,
    else each epoch. The end of training is always saved."""
    save_steps: int | None = None
    """Steps between checkpoints with `save_strategy` steps; None takes 500."""
    save_total_limit: int | None = 3
    """Checkpoints to keep, the newest ones; `best/` is always kept besides. None keeps all."""
    load_best_model_at_end: bool | None = None
    """Whether the best weights are in the model after training; None means yes where there is
    evaluation."""
    metric_for_best_model: str | None = None
    """The figure that says which weights are best; None takes the loss of the evaluation."""
    greater_is_better: bool | None = None
    """Whether a greater figure is better; None lets the metric say."""

    logging_strategy: str = "steps"
    """When to log: no, steps or epoch."""
    logging_steps: int | None = None
    """Steps between log entries; None takes a hundredth of the run."""
    logging_first_step: bool = False
    """Whether the very first step is logged too."""
    logging_dir: str | None = None
    """Where TensorBoard's files go; None takes `tensorboard` in `output_dir`."""
    report_to: str | tuple[str, ...] = ()
    """Where else the run is logged: tensorboard. The JSON log and the report are always written."""
    disable_tqdm: bool = False
    """Whether to show no progress bar."""

    seed: int = 42
    """Decides the order of rows, dropout and everything else that is random."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16. Weights stay fp32; products are computed in this. auto is bf16
    where the device has bf16 units."""
    bf16: bool = False
    """The same as precision='bf16'."""
    fp16: bool = False
    """The same as precision='fp16'; GPUs only."""
    device: str | None = None
    """Where to train: cpu, cuda, cuda:0 or mps; None takes the best there is."""
    dataloader_num_workers: int = 0
    """Processes that read rows of your own torch data set ahead; results do not depend on it."""
    group_by_length: bool = False
    """Whether rows of like length come together, in random order still."""

    def __post_init__(self) -> None:
        if isinstance(self.report_to, str):
            names = () if self.report_to == "none" else (self.report_to,)
            object.__setattr__(self, "report_to", REPORTERS if "all" in names else names)
        else:
            object.__setattr__(self, "report_to", tuple(self.report_to))
        object.__setattr__(self, "output_dir", str(self.output_dir))
        problems = [*_wrong_choices(self), *_wrong_numbers(self), *_contradictions(self)]
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def folder(self) -> Path:
        """`output_dir` as a path."""
        return Path(self.output_dir).expanduser()

    @property
    def rows_per_step(self) -> int:
        """Rows that one step of the optimizer learns from, on one device."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def wanted_precision(self) -> str:
        """The precision that `precision`, `bf16` and `fp16` ask for together."""
        if self.bf16:
            return "bf16"
        return "fp16" if self.fp16 else self.precision

    def cadence_of_evaluation(self, *, has_rows: bool) -> Strategy:
        """Return when to evaluate, given whether there is an evaluation set."""
        if self.eval_strategy is not None:
            return _strategy(self.eval_strategy)
        if not has_rows:
            return "no"
        return "epoch" if self.eval_steps is None else "steps"

    @property
    def cadence_of_saving(self) -> Strategy:
        """When to save checkpoints."""
        if self.save_strategy is not None:
            return _strategy(self.save_strategy)
        return "epoch" if self.save_steps is None else "steps"


def _strategy(name: str) -> Strategy:
    return "no" if name == "no" else "steps" if name == "steps" else "epoch"


def _wrong_choices(args: TrainingArguments) -> list[str]:
    choices: list[tuple[str, tuple[str, ...]]] = [
        ("lr_scheduler_type", SCHEDULES),
        ("precision", PRECISIONS),
        ("logging_strategy", STRATEGIES),
        ("eval_strategy", STRATEGIES),
        ("save_strategy", STRATEGIES),
    ]
    problems = [
        one_of(f"`{name}`", value, known)
        for name, known in choices
        if (value := getattr(args, name)) is not None and value not in known
    ]
    problems += [
        one_of("`report_to`", name, ("none", "all", *REPORTERS))
        for name in args.report_to
        if name not in REPORTERS
    ]
    return problems


def _at_least(least: float) -> tuple[Callable[[float], bool], str]:
    return lambda value: value >= least, f"at least {least}"


_ABOVE_ZERO: tuple[Callable[[float], bool], str] = (lambda value: value > 0, "above 0")
_SHARE: tuple[Callable[[float], bool], str] = (lambda value: 0 <= value < 1, "from 0 to below 1")

_INTEGERS = {
    "per_device_train_batch_size": _at_least(1),
    "gradient_accumulation_steps": _at_least(1),
    "per_device_eval_batch_size": _at_least(1),
    "warmup_steps": _at_least(0),
    "eval_steps": _at_least(1),
    "save_steps": _at_least(1),
    "save_total_limit": _at_least(1),
    "logging_steps": _at_least(1),
    "dataloader_num_workers": _at_least(0),
    "max_steps": (lambda value: value == -1 or value > 0, "above 0, or -1"),
    "seed": (lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1"),
}
_NUMBERS = {
    "num_train_epochs": _ABOVE_ZERO,
    "learning_rate": _ABOVE_ZERO,
    "layerwise_lr_decay": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "adam_epsilon": _ABOVE_ZERO,
    "weight_decay": _at_least(0),
    "max_grad_norm": _at_least(0),
    "warmup_ratio": _SHARE,
    "adam_beta1": _SHARE,
    "adam_beta2": _SHARE,
}


def _wrong_numbers(args: TrainingArguments) -> list[str]:
    problems = []
    for name, (is_right, rule) in {**_INTEGERS, **_NUMBERS}.items():
        value: Any = getattr(args, name)
        if value is None and name in _INTEGERS:
            continue
        is_whole = name in _INTEGERS
        kinds: tuple[type, ...] = (int,) if is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            hint = " (YAML reads 5e-5 as text; write 5.0e-5)" if isinstance(value, str) else ""
            kind = "a whole number" if is_whole else "a number"
            problems.append(f"`{name}` must be {kind}, but is {value!r}{hint}.")
        elif not math.isfinite(cast(float, value)) or not is_right(value):
            problems.append(f"`{name}` must be {rule}, but is {value!r}.")
    return problems


def _contradictions(args: TrainingArguments) -> list[str]:
    problems = []
    if args.bf16 and args.fp16:
        problems.append("`bf16` and `fp16` cannot both be true; choose one.")
    wished = "bf16" if args.bf16 else "fp16" if args.fp16 else args.precision
    if args.precision not in ("auto", wished):
        problems.append(f"`{wished}` is true, but `precision` is {args.precision!r}; choose one.")
    if args.eval_steps is not None and args.eval_strategy in ("no", "epoch"):
        problems.append(
            f"`eval_steps` is {args.eval_steps}, but `eval_strategy` is {args.eval_strategy!r}; "
            "set it to 'steps' or leave `eval_steps` out."
        )
    if args.save_steps is not None and args.save_strategy in ("no", "epoch"):
        problems.append(
            f"`save_steps` is {args.save_steps}, but `save_strategy` is {args.save_strategy!r}; "
            "set it to 'steps' or leave `save_steps` out."
        )
    if args.overwrite_output_dir and args.resume_from_checkpoint:
        problems.append(
            "`overwrite_output_dir` starts anew and `resume_from_checkpoint` goes on; choose one."
        )
    return problems
