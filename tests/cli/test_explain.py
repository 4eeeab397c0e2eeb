import json

import pytest

from abrazo.cli.explain import description
from helpers.tiny import VOCAB, tiny_bert, tiny_folder

# of the tiny model: width 32, feed-forward 48, 2 blocks, 64 positions, 2 segments, 2 labels
WIDTH, WIDE, BLOCKS = 32, 48, 2


@pytest.fixture
def parts(run, model):
    """Return a function that gives the parts by name."""

    def parts_of(tokens: int) -> dict[str, dict]:
        found = json.loads(run("explain", model, "--tokens", tokens, "--json")[1])
        return {part["name"]: part for part in found["parts"]}

    return parts_of


def test_parts_have_the_sizes_of_their_tensors(parts):
    sizes = {name: part["parameters"] for name, part in parts(10).items()}
    assert sizes == {
        "embeddings.tokens": len(VOCAB) * WIDTH,
        "embeddings.positions": 64 * WIDTH,
        "embeddings.segments": 2 * WIDTH,
        "embeddings.norm": 2 * WIDTH,
        "blocks.attention": BLOCKS * 4 * (WIDTH * WIDTH + WIDTH),
        "blocks.attention_norm": BLOCKS * 2 * WIDTH,
        "blocks.feedforward": BLOCKS * (2 * WIDTH * WIDE + WIDTH + WIDE),
        "blocks.feedforward_norm": BLOCKS * 2 * WIDTH,
        "pooler": WIDTH * WIDTH + WIDTH,
        "head": 2 * WIDTH + 2,
    }


def test_parts_add_up_to_the_model(run, model):
    found = json.loads(run("explain", model, "--tokens", 10, "--json")[1])
    assert sum(part["parameters"] for part in found["parts"]) == found["parameters"]
    assert sum(part["share_of_operations"] for part in found["parts"]) == pytest.approx(1)


def test_the_work_is_counted_from_the_sizes(parts):
    tokens = 10
    work = {name: part["operations"] for name, part in parts(tokens).items()}
    products, mixing = 2 * 4 * WIDTH * WIDTH * tokens, 4 * tokens * tokens * WIDTH
    assert work["blocks.attention"] == BLOCKS * (products + mixing)
    assert work["blocks.feedforward"] == BLOCKS * 2 * 2 * WIDTH * WIDE * tokens
    assert work["pooler"] == 2 * WIDTH * WIDTH  # for one token of the text
    assert work["head"] == 2 * WIDTH * 2


def test_shared_weights_count_once():
    model = tiny_bert("masked_lm")
    found = description(model, tokens=8, text="fine")
    assert sum(part["parameters"] for part in found["parts"]) == model.num_parameters()


def test_people_read_tables(run, model):
    code, out, _ = run("explain", model, "--tokens", 32, "--text", "unlovely film")
    assert code == 0
    for words in (
        "BertForSequenceClassification (bert)",
        "bad, good",
        "word embedding",
        "position embedding",
        "segment embedding",
        "self-attention",
        "feed-forward",
        "blocks.attention × 2",
        "hidden_size",
        "in fp32",
        f"{len(VOCAB)} pieces",
        "cls_token [CLS]",
        "film · [SEP]",
    ):
        assert words in out


def test_a_model_without_tokenizer_is_explained_too(run, tmp_path):
    folder = tiny_folder(tmp_path / "bare", "")
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)
    code, out, _ = run("explain", folder, "--tokens", 32)
    assert (code, "Tokenizer" in out) == (0, True)


def test_the_length_must_be_one_that_the_model_reads(run, model):
    assert "for a text of 64 tokens" in run("explain", model)[1]  # 128 where they can be read
    code, _, err = run("explain", model, "--tokens", 65)
    assert (code, err) == (
        2,
        "Error: `--tokens` must be from 1 to 64, what the model reads at most, but is 65.\n",
    )
