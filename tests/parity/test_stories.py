"""A small pretrained Llama, where it is at hand, tells a story word for word as `transformers`."""

from pathlib import Path

import pytest
import torch
import transformers

from abrazo.models.auto import AutoModelForCausalLM

FOLDER = Path(__file__).parents[2].parent / "shared" / "models" / "stories260K"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "model.safetensors").exists(), reason="stories260K is not beside the repository"
)
PROMPT = "Once upon a time, there was a little girl named Lily."


@pytest.fixture(scope="module")
def pair():
    theirs = transformers.AutoModelForCausalLM.from_pretrained(FOLDER).eval()
    return theirs, AutoModelForCausalLM.from_pretrained(FOLDER)


@pytest.mark.parametrize("beams", [1, 4])
def test_a_story_goes_on_token_for_token(pair, beams: int) -> None:
    theirs, ours = pair
    ids = ours.tokenizer(PROMPT, return_tensors="pt").input_ids
    options = {"max_new_tokens": 200, "num_beams": beams, "do_sample": False}
    mask = torch.ones_like(ids)
    expected = theirs.generate(ids, attention_mask=mask, pad_token_id=0, **options)
    assert ours.generate(ids, pad_token_id=0, **options).tolist() == expected.tolist()


def test_its_scores_are_theirs(pair) -> None:
    theirs, ours = pair
    ids = ours.tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.no_grad():
        expected, found = theirs(ids, labels=ids), ours(ids, labels=ids)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.loss, expected.loss)
