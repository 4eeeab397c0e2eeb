"""What `generate` is given must be ids that the model can read; else it says what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import abrazo as az
from abrazo.errors import AbrazoError
from abrazo.models.base import PretrainedModel
from helpers.tiny import VOCAB
from helpers.writers import tiny_bart, tiny_llama

V = len(VOCAB)
IDS = torch.tensor([[5, 6, 7]])
EITHER = {"llama": tiny_llama(), "bart": tiny_bart()}
TOKENIZER = EITHER["llama"].tokenizer
Call = Callable[[PretrainedModel], Any]

REFUSED: dict[str, tuple[Call, str]] = {
    "a text": (lambda m: m.generate("a film"), r"a tensor of ids, as `tokenizer\(texts"),
    "texts": (lambda m: m.generate(["a film"]), "a tensor of ids"),
    "a list": (lambda m: m.generate([[5, 6]]), "a tensor of ids"),
    "an array": (lambda m: m.generate(np.array([[5, 6]])), "a tensor of ids"),
    "an encoding": (lambda m: m.generate(TOKENIZER(["a"])), r"`model\.generate\(\*\*inputs\)`"),
    "fractions": (lambda m: m.generate(IDS.float()), r"its type is torch\.float32"),
    "truth values": (lambda m: m.generate(IDS > 5), r"its type is torch\.bool"),
    "three dimensions": (lambda m: m.generate(IDS[None]), r"the shape \(rows, columns\)"),
    "no rows": (lambda m: m.generate(IDS[:0]), r"has \(0, 3\)"),
    "an id too high": (lambda m: m.generate(IDS + V), "Token ids must be from 0"),
    "an id too low": (lambda m: m.generate(IDS - 6), "Token ids must be from 0"),
    "too long": (lambda m: m.generate(torch.full((1, 70), 5)), "Row 0 has 70 tokens"),
    "a mask of lists": (lambda m: m.generate(IDS, [[1, 1, 1]]), "must be a tensor of 0 and 1"),
    "a short mask": (lambda m: m.generate(IDS, torch.ones(1, 2)), r"has the shape \(1, 2\)"),
    "an empty mask": (lambda m: m.generate(IDS, torch.zeros(1, 3)), "at least one token"),
    "two segments": (lambda m: m.generate(IDS, token_type_ids=IDS), "must be 0 everywhere"),
    "a name": (lambda m: m.generate(IDS, numbeams=2), r"Did you mean `num_beams`\?"),
    "a mapping of options": (
        lambda m: m.generate(IDS, generation_config={"num_beams": 2}),
        "must be a `GenerationConfig`",
    ),
    "nothing left": (
        lambda m: m.generate(IDS, suppress_tokens=range(V - 1), bad_words_ids=[[V - 1]]),
        "leave no token that may be written",
    ),
    "a power": (lambda m: m.generate(IDS, num_beams=2, length_penalty=1e6), "from -10 to 10"),
    "rows in a stream": (
        lambda m: m.generate(IDS.repeat(2, 1), streamer=az.TextStreamer(TOKENIZER)),
        "one row at a time, but there are 2",
    ),
    **{
        f"{name} follows": (
            lambda m, given=given: m.generate(IDS, prefix_allowed_tokens_fn=lambda *_: given),
            message,
        )
        for name, given, message in [
            ("nothing", [], "allows no token to follow in row 0"),
            ("a word", "a", "must return ids below"),
            ("None", None, "must return ids below"),
            ("an unknown id", [V], "must return ids below"),
            ("a fraction", [0.5], "must return ids below"),
        ]
    },
}
ENCODERS: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"input_ids": None}, "needs `input_ids` for its encoder"),
    "no column": (
        {"decoder_input_ids": torch.zeros(1, 0, dtype=torch.long)},
        r"`decoder_input_ids` must have the shape",
    ),
    "fractions": ({"decoder_input_ids": torch.ones(1, 1)}, "`decoder_input_ids` must be a tensor"),
    "two rows": ({"decoder_input_ids": IDS.repeat(2, 1)}, "has 2 rows, `input_ids` 1"),
    "an id too high": ({"decoder_input_ids": IDS + V}, "Token ids must be from 0"),
    "an unknown start": ({"decoder_start_token_id": V}, "Token ids must be from 0"),
}


@pytest.mark.parametrize("model", EITHER)
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(case: str, model: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(AbrazoError, match=message):
        call(EITHER[model])


@pytest.mark.parametrize("case", ENCODERS)
def test_what_a_decoder_cannot_go_on_from_is_refused(case: str) -> None:
    options, message = ENCODERS[case]
    with pytest.raises(AbrazoError, match=message):
        EITHER["bart"].generate(**{"input_ids": IDS, **options})


@pytest.mark.parametrize("model", EITHER)
def test_all_that_a_tokenizer_returns_can_be_passed(model: str) -> None:
    inputs = TOKENIZER(["a film", "the plot is good"], padding=True, return_tensors="pt")
    assert "token_type_ids" in inputs
    written = EITHER[model].generate(**inputs, max_new_tokens=3)
    plain = EITHER[model].generate(inputs["input_ids"], inputs["attention_mask"], max_new_tokens=3)
    assert written.tolist() == plain.tolist()


@pytest.mark.parametrize("kind", [list, set, tuple, np.array, torch.tensor, iter])
def test_what_may_follow_can_be_said_in_any_kind_of_list(kind: Any) -> None:
    allowed = EITHER["llama"].generate(
        IDS, prefix_allowed_tokens_fn=lambda *_: kind([8, 9]), max_new_tokens=4
    )
    assert set(allowed[0, 3:].tolist()) <= {8, 9}
