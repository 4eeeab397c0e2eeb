"""Writing texts: `translate = pipeline("translation", model)`, `translate("A dog.")`."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from abrazo.generation.decoding import plan_for
from abrazo.generation.settling import Plan
from abrazo.generation.streaming import stream_ids
from abrazo.inference.generating import GeneratingEngine
from abrazo.inference.pipeline import Pipeline
from abrazo.tasks.writing import WritingTask


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
        asked = self.writing(**options)
        if is_conversation(inputs):
            return Pipeline.__call__(asked, [inputs])[0]
        return Pipeline.__call__(asked, inputs)

    def writing(self, **options: Any) -> Self:
        """Return the pipeline with other options of `generate`.

        Raises:
            ConfigError: An option is not known, or options contradict each other.
        """
        asked = copy.copy(self)
        if options:
            asked.task = task = self._task().writing(**options)
            asked.engine = self._engine().with_task(task)
        return asked

    def plan(self) -> Plan:
        """Return all options, each decided.

        Raises:
            ConfigError: Options contradict each other, or the model's language is open.
        """
        config = self._engine().generation_config()
        return plan_for(self.engine.model, config, tokenizer=self.tokenizer)

    def as_written(self, item: Any) -> Iterator[str]:
        """Yield what is written for one input, piece by piece, without the prompt.

        A source that is longer than the model reads is given out at once, when all is written.

        Args:
            item: A text, a conversation or a mapping.

        Raises:
            ConfigError: Options ask for beams or for several texts.
            DataError: The input is none of these, is empty, or is a prompt longer than the model
                reads.
        """
        task, tokenizer = self._task(), self.tokenizer
        features = task.encode([self._row(0, item)], [0], tokenizer, with_labels=False)
        requests = task.requests(features[0])
        if len(requests) > 1:
            yield from self(item).values()
            return
        yield from stream_ids(
            self.engine.model,
            requests[0].prompt,
            self._engine().generation_config(),
            source=requests[0].source,
            tokenizer=tokenizer,
        )

    def _engine(self) -> GeneratingEngine:
        assert isinstance(self.engine, GeneratingEngine)
        return self.engine

    def _task(self) -> WritingTask:
        assert isinstance(self.task, WritingTask)
        return self.task


def is_conversation(inputs: Any) -> bool:
    """Tell whether inputs are the messages of one conversation."""
    is_list = isinstance(inputs, Sequence) and not isinstance(inputs, str) and len(inputs) > 0
    return is_list and all(isinstance(part, Mapping) and "role" in part for part in inputs)
