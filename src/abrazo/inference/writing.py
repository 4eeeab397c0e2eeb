"""Writing texts: `translate = pipeline("translation", model)`, `translate("A dog.")`."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from abrazo.inference.generating import GeneratingEngine
from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.text_generation import TextGeneration
from abrazo.tasks.text_to_text import TextToText


class WritingPipeline(Pipeline):
    """Texts written for one text or many: goes on, translates, sums up."""

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return what is written for each text, or a list where several are asked for.

        An answer has one text, as `generated_text`, `translation_text` or `summary_text`.

        Args:
            inputs: A text, a conversation (a list of messages with `role` and `content`), or a
                mapping; a list or data set of texts, mappings or conversations; or an iterator,
                which is read bit by bit and answered by an iterator.
            options: As of `generate`, such as `max_new_tokens`, `num_beams` or `do_sample`; they
                go before those of the pipeline and of the model.

        Raises:
            ConfigError: An option is not known, or options contradict each other.
            DataError: An input is none of these, is empty, or is a prompt longer than the model
                reads; it is named by its number.
        """
        asked = copy.copy(self)
        if options:
            assert isinstance(self.task, TextToText | TextGeneration)
            assert isinstance(self.engine, GeneratingEngine)
            asked.task = task = self.task.writing(**options)
            asked.engine = self.engine.with_task(task)
        if is_conversation(inputs):
            return Pipeline.__call__(asked, [inputs])[0]
        return Pipeline.__call__(asked, inputs)


def is_conversation(inputs: Any) -> bool:
    """Tell whether inputs are the messages of one conversation."""
    is_list = isinstance(inputs, Sequence) and not isinstance(inputs, str) and len(inputs) > 0
    return is_list and all(isinstance(part, Mapping) and "role" in part for part in inputs)
