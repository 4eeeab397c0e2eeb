"""An engine for tasks whose models write: the loss of known texts, and texts for all requests."""

import copy
from collections.abc import Sequence
from typing import Any

from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig
from abrazo.generation.decoding import generate_rows
from abrazo.inference.engine import Collate, Condense, Engine, LossMeter, Outputs
from abrazo.models.base import PretrainedModel
from abrazo.tasks.base import Features, Task
from abrazo.tasks.writing import WritingTask
from abrazo.tasks.written import WRITTEN, as_objects
from abrazo.tokenization.tokenizer import Tokenizer


class GeneratingEngine(Engine):
    """Runs models that write."""

    def __init__(
        self, task: WritingTask, model: PretrainedModel, tokenizer: Tokenizer, **options: Any
    ) -> None:
        """Make the model ready.

        Args:
            task: Says what is to be written.
            model: As for `Engine`.
            tokenizer: The model's tokenizer.
            options: As for `Engine`.
        """
        super().__init__(model, **options)
        self.task, self.tokenizer = task, tokenizer

    def with_task(self, task: WritingTask) -> "GeneratingEngine":
        """Return an engine of the same model that writes otherwise."""
        other = copy.copy(self)
        other.task = task
        return other

    def generation_config(self) -> GenerationConfig:
        """Return the task's options of `generate`.

        Raises:
            ConfigError: The model writes in several languages, and nothing says in which.
        """
        config, own = self.task.generation_config(self.tokenizer), self.model.generation_config
        known = self.tokenizer.lang_code_to_id
        firsts = {
            getattr(options, name)
            for options in (config, own)
            for name in ("forced_bos_token_id", "decoder_start_token_id")
        }
        if known and not firsts & set(known.values()):
            raise ConfigError(
                f"{type(self.model).__name__} writes in {len(known)} languages, and nothing says "
                "in which. Give `target_language` (or `tgt_lang`), such as "
                f"{next(iter(known))!r}."
            )
        return config

    def _run_stretch(
        self,
        stretch: Sequence[Features],
        units: Sequence[Sequence[int]],
        collate: Collate,
        loss: LossMeter | None,
        condense: Condense | None,
    ) -> list[Outputs]:
        """Score what is known, and write what is requested."""
        outputs: list[Outputs] = [{} for _ in stretch]
        if stretch[0].label is not None:
            outputs = super()._run_stretch(stretch, units, collate, loss, condense)
        requests = [self.task.requests(feature) for feature in stretch]
        wanted = [request for some in requests for request in some]
        if not wanted:
            return outputs
        prompts = [request.prompt for request in wanted if request.prompt is not None]
        sources = [request.source for request in wanted if request.source is not None]
        written = generate_rows(
            self.model,
            prompts or None,
            self.generation_config(),
            sources=sources or None,
            tokenizer=self.tokenizer,
        )
        each = len(written) // len(wanted)
        variants = iter([written[at : at + each] for at in range(0, len(written), each)])
        for output, some in zip(outputs, requests, strict=True):
            if some:
                output[WRITTEN] = as_objects([next(variants) for _ in some])
        return outputs


def engine_for(task: Task, model: PretrainedModel, tokenizer: Tokenizer, **options: Any) -> Engine:
    """Return the engine that a task needs.

    Args:
        task: The task.
        model: As for `Engine`.
        tokenizer: The model's tokenizer.
        options: As for `Engine`.
    """
    if isinstance(task, WritingTask):
        return GeneratingEngine(task, model, tokenizer, **options)
    return Engine(model, **options)
