"""Pretraining from plain text files: tokenizer, new or known model, corpus, and the normal trainer.

    pretrain("corpus.txt", PretrainingOptions(objectives="mlm,nsp"),
             PretrainingArguments(output_dir="out"))

A run that was stopped goes on exactly where it was when the same call is made again.
"""

import dataclasses
import itertools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from abrazo.config import Config
from abrazo.data.corpus import Corpus
from abrazo.data.lines import Files, as_paths, text_lines
from abrazo.data.rows import RowSource
from abrazo.data.sentence_pairs import SentencePairs
from abrazo.errors import ConfigError, DataError
from abrazo.models.auto import load_model
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import MODELS, BertConfig
from abrazo.tasks.base import Task
from abrazo.tasks.masked_lm import MaskedLM
from abrazo.tasks.pretraining import NextSentence, Pretraining
from abrazo.tokenization.tokenizer import Tokenizer
from abrazo.tokenization.training import Kind, train_tokenizer
from abrazo.training.arguments import TrainingArguments
from abrazo.training.callbacks.base import Callback
from abrazo.training.peak import ShareOfPeakCallback
from abrazo.training.strategies import SingleDevice
from abrazo.training.trainer import Trainer

logger = logging.getLogger("abrazo")

Size = Literal["tiny", "small", "base"]

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2},
    "small": {"num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12},
}
"""Sizes of new models: those of BERT's small releases (Turc et al. 2019, arXiv:1908.08962)."""

_MEASURED_LINES = 1_000
_LEAST_POSITIONS = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingOptions(Config):
    """What is learned, and by which model."""

    objectives: str = "mlm"
    """What is learned: mlm (hidden words), nsp (next sentence) or sop (sentence order), or mlm with
    one of the others, as in mlm,nsp."""
    model: str | None = None
    """A pretrained model to go on with: a folder, a built-in name, or a repository."""
    config: Size = "small"
    """The size of a new model: tiny, small or base."""
    tokenizer: str | None = None
    """A folder with the tokenizer of a new model."""
    train_tokenizer: Kind = "wordpiece"
    """The kind of tokenizer that is learned from the corpus for a new model: wordpiece, bpe or
    unigram."""
    vocab_size: int = 30_000
    """Tokens of a tokenizer that is learned."""
    lowercase: bool | None = None
    """Whether a tokenizer that is learned lowercases texts; None does for wordpiece."""
    block_size: int = 128
    """Tokens of a row at most."""
    mask_probability: float = 0.15
    """Share of the words that are hidden."""
    whole_words: bool = False
    """Whether all pieces of a word are hidden together."""
    chinese_words: bool = False
    """Whether this holds for Chinese words too; needs `abrazo[chinese]`."""

    def __post_init__(self) -> None:
        """Check what does not depend on files."""
        problems = []
        allowed = ({"mlm"}, {"nsp"}, {"sop"}, {"mlm", "nsp"}, {"mlm", "sop"})
        if self.learned not in allowed:
            problems.append(
                "`objectives` must be mlm, nsp or sop, or mlm with one of the others, but is "
                f"{self.objectives!r}."
            )
        if self.config not in SIZES:
            problems.append(f"`config` must be one of {', '.join(SIZES)}, but is {self.config!r}.")
        if self.model is not None and self.tokenizer is not None:
            problems.append("`model` has its own tokenizer; leave `tokenizer` out.")
        if self.block_size < 8:
            problems.append(f"`block_size` must be at least 8, but is {self.block_size}.")
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def learned(self) -> set[str]:
        """The objectives one by one."""
        return {name.strip() for name in self.objectives.split(",")}

    @property
    def task_type(self) -> type[Task]:
        """The task that learns the objectives."""
        if "mlm" not in self.learned:
            return NextSentence
        return MaskedLM if len(self.learned) == 1 else Pretraining

    @property
    def learns_pairs(self) -> bool:
        """Whether rows are pairs of texts."""
        return self.task_type is not MaskedLM


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingArguments(TrainingArguments):
    """How a model is pretrained: the settings of a training run, with other defaults."""

    output_dir: str = "pretrained"
    """Folder of the run: tokenizer, checkpoints, `best/`, logs and the report."""
    num_train_epochs: float = 1.0
    """How often the corpus is seen; may be a fraction."""
    per_device_train_batch_size: int = 32
    """Rows of a forward and backward pass."""
    learning_rate: float = 2e-4
    """The highest learning rate of the run."""
    warmup_ratio: float = 0.05
    """Share of all steps over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW's decay of weights; biases and norms do not decay."""


def pretrain(
    files: Files,
    options: PretrainingOptions | None = None,
    args: PretrainingArguments | None = None,
    *,
    eval_files: Files | None = None,
    callbacks: Iterable[Callback] = (),
) -> Trainer:
    """Train on plain text files, or go on where the same run stopped.

    Args:
        files: Text files in UTF-8, with a blank line between documents; they may be larger than
            the memory.
        options: What is learned, by which model.
        args: How it is trained.
        eval_files: Text files to evaluate on.
        callbacks: Besides those that are always there.

    Returns:
        The trainer, after training.

    Raises:
        ConfigError: Options are wrong or contradict each other.
        DataError: A file cannot be read, or holds too little text.
        TrainingError: The run cannot start; all mistakes are listed.
    """
    options = options or PretrainingOptions()
    args = args or PretrainingArguments()
    paths = as_paths(files)
    SingleDevice(args.device, args.wanted_precision).seed(args.seed)  # new weights draw from it
    model = _load(options) if options.model else _new_model(options, args, paths)
    index = args.folder / "index"
    train = corpus_rows(paths, options, model, seed=args.seed, index_folder=index)
    evaluation = None
    if eval_files is not None:
        evaluation = corpus_rows(as_paths(eval_files), options, model, seed=0, index_folder=index)
    logger.info(
        "%s with %s weights learns %s from %d rows of at most %d tokens.",
        type(model).__name__,
        f"{model.num_parameters():,}",
        " and ".join(sorted(options.learned)),
        len(train),
        options.block_size,
    )
    trainer = Trainer(
        model,
        args,
        train,
        evaluation,
        task=_task(options, train),
        callbacks=callbacks,
    )
    # the first of all, so that those that write the log see the share
    trainer.callbacks.insert(0, ShareOfPeakCallback(options.mask_probability))
    trainer.train()
    return trainer


def corpus_rows(
    paths: list[Path],
    options: PretrainingOptions,
    model: PretrainedModel,
    *,
    seed: int,
    index_folder: Path | None = None,
) -> RowSource:
    """Return a corpus as rows of about `block_size` tokens: texts, or pairs of texts."""
    room = options.block_size - model.tokenizer.num_special_tokens_to_add(options.learns_pairs)
    size = max(1, int(room * _bytes_per_token(paths, model.tokenizer)))
    corpus = Corpus(paths, block_bytes=size, index_folder=index_folder)
    if not options.learns_pairs:
        return corpus
    negatives: Literal["random", "swapped"] = "swapped" if "sop" in options.learned else "random"
    return SentencePairs(corpus, negatives=negatives, seed=seed)


def _bytes_per_token(paths: list[Path], tokenizer: Tokenizer) -> float:
    """Measure it on the first lines of the first file that has some."""
    lines = itertools.islice((line for line in text_lines(paths) if line.strip()), _MEASURED_LINES)
    texts = list(lines)
    if not texts:
        raise DataError(f"There is no text in {', '.join(f'`{path}`' for path in paths)}.")
    encoded = tokenizer(texts, add_special_tokens=False, truncation=False)["input_ids"]
    return sum(len(text.encode()) for text in texts) / max(1, sum(map(len, encoded)))


def _task(options: PretrainingOptions, rows: RowSource) -> Task:
    kind = options.task_type
    settings: dict[str, Any] = {"max_length": options.block_size}
    if kind is not NextSentence:
        names = ("mask_probability", "whole_words", "chinese_words")
        settings |= {name: getattr(options, name) for name in names}
    return kind.learn(rows, kind.settings_type.from_dict(settings))


def _load(options: PretrainingOptions) -> PretrainedModel:
    assert options.model is not None
    return load_model(options.model, options.task_type.head_name)


def _new_model(
    options: PretrainingOptions, args: TrainingArguments, paths: list[Path]
) -> PretrainedModel:
    """Build a BERT with new weights over the tokenizer that was given or is learned."""
    tokenizer = _tokenizer(options, args, paths)
    size = SIZES[options.config]
    positions = max(_LEAST_POSITIONS, options.block_size)
    config = BertConfig(
        num_hidden_layers=size["num_hidden_layers"],
        hidden_size=size["hidden_size"],
        num_attention_heads=size["num_attention_heads"],
        intermediate_size=4 * size["hidden_size"],
        max_position_embeddings=positions,
    )
    tokenizer.model_max_length = positions
    return MODELS[options.task_type.head_name].from_config(config, tokenizer=tokenizer)


def _tokenizer(
    options: PretrainingOptions, args: TrainingArguments, paths: list[Path]
) -> Tokenizer:
    """Load the tokenizer, or learn it once for the run and keep it in the run's folder."""
    if options.tokenizer is not None:
        return Tokenizer.from_folder(options.tokenizer)
    case = {None: "", True: "-lower", False: "-cased"}[options.lowercase]
    kind, size = options.train_tokenizer, options.vocab_size
    folder = args.folder / f"tokenizer-{kind}-{size}{case}"
    if not (folder / "tokenizer.json").exists():
        logger.info("A %s tokenizer of %d tokens is learned from the corpus.", kind, size)
        learned = train_tokenizer(paths, kind, size, lowercase=options.lowercase)
        learned.save_pretrained(folder)
    return Tokenizer.from_folder(folder)
