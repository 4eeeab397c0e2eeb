from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import pipeline
from abrazo.models.base import PretrainedModel
from abrazo.models.bert import BertForMaskedLM, BertModel
from abrazo.tasks.masked_lm import MaskedLM, MaskedLMSettings
from abrazo.tasks.pretraining import Pretraining, PretrainingSettings
from helpers.tiny import VOCAB, tiny_bert, tiny_folder, tiny_rows, tiny_tokenizer

MASK = VOCAB.index("[MASK]")


def model(head: str = "masked_lm", **changes) -> PretrainedModel:
    made = tiny_bert(head, **changes)
    made.tokenizer = tiny_tokenizer(made.max_length)
    return made


def by_hand(made: PretrainedModel, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and the probabilities of every token at the masks, (M, V)."""
    ids = torch.tensor([made.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        logits = made(ids).logits[0]
    return ids[0], logits[ids[0] == MASK].softmax(-1)


def test_filling_a_mask_equals_a_hand_computation():
    made, text = model(), "a [MASK] film"
    ids, shares = by_hand(made, text)
    answers = pipeline("fill-mask", made, precision="fp32")(text, top_k=3)
    scores, tokens = shares[0].topk(3)
    assert [answer["token"] for answer in answers] == tokens.tolist()
    assert [answer["score"] for answer in answers] == pytest.approx(scores.tolist(), rel=1e-4)
    ids[ids == MASK] = tokens[0]
    assert answers[0]["token_str"] == VOCAB[tokens[0]]
    assert answers[0]["sequence"] == made.tokenizer.decode(ids.tolist(), skip_special_tokens=True)


def test_rows_without_any_text_are_refused_and_empty_ones_among_others_are_not():
    with pytest.raises(DataError, match="Every `text` is empty, so there is nothing to learn"):
        MaskedLM.learn(as_rows([{"text": ""}, {"text": " \n"}]), MaskedLMSettings())
    task = MaskedLM.learn(as_rows([{"text": ""}, {"text": "a film"}]), MaskedLMSettings())
    assert task.settings.text_column == "text"


def test_several_masks_get_candidates_each():
    made, text = model(), "the [MASK] was [MASK] [MASK] ."
    _, shares = by_hand(made, text)
    answers = pipeline("fill-mask", made, precision="fp32")([text, "a [MASK]"])
    assert [len(mask) for mask in answers[0]] == [5, 5, 5]
    for mask, expected in zip(answers[0], shares, strict=True):
        assert [answer["token"] for answer in mask] == expected.topk(5).indices.tolist()
        assert mask[0]["sequence"].count("[MASK]") == 2
    assert [set(answer) for answer in answers[1]] == 5 * [
        {"score", "token", "token_str", "sequence"}
    ]


def test_targets_are_the_only_candidates():
    made = model()
    _, shares = by_hand(made, "a [MASK] film")
    fill = pipeline("fill-mask", made, precision="fp32")
    answers = fill("a [MASK] film", targets=["bad", "Good", "bad"])
    found = {answer["token_str"]: answer["score"] for answer in answers}
    expected = {word: float(shares[0, VOCAB.index(word)]) for word in ("bad", "good")}
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(fill("a [MASK] film", top_k=None)) == len(VOCAB)


def test_a_mask_far_in_a_long_text_is_found():
    made = model()
    text = "the film was good " * 40 + "[MASK] " + "very " * 30
    answers = pipeline("fill-mask", made, precision="fp32")(text, top_k=2)
    assert len(answers) == 2
    words = answers[0]["sequence"].split()
    assert len(words) == 160 + 1 + 30
    assert words[160] == answers[0]["token_str"]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda fill: fill(["a [MASK]", "a film"]), DataError, r"row 2: .*no mask.*`\[MASK\]`"),
        (lambda fill: fill("a [MASK]", targets=["flim"]), DataError, "'flim'.*mean `film`"),
        (lambda fill: fill("a [MASK]", targets="finely"), DataError, "cut into fine, ##ly"),
        (lambda fill: fill("a [MASK]", targets=[]), DataError, "names no word"),
        (lambda fill: fill("a [MASK]", top_k=0), ConfigError, "`top_k` must be at least 1"),
        (lambda fill: fill([3]), DataError, "A text or a mapping is wanted, not 3"),
    ],
)
def test_what_cannot_be_filled_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(pipeline("fill-mask", model()))


def test_long_texts_are_cut_into_blocks_and_none_of_them_is_lost():
    task = MaskedLM(MaskedLMSettings(max_length=10))
    text = "the film was very good and it was lovely . " * 5
    features = task.encode(
        [{"text": text}, {"text": ""}], [4, 5], tiny_tokenizer(), with_labels=True
    )
    assert all(len(feature.input_ids) <= 10 for feature in features)
    tokens = [i for f in features if f.row == 4 for i in f.input_ids[1:-1].tolist()]
    assert tokens == tiny_tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert features[-1].row == 5


def test_masks_depend_on_seed_epoch_and_row_and_leave_features_as_they_are():
    task = MaskedLM(MaskedLMSettings(max_length=12, mask_probability=0.5))
    texts = [{"text": row["text"] * 4} for row in tiny_rows(6)]
    features = task.encode(texts, range(6), tiny_tokenizer(), with_labels=True)
    before = [feature.input_ids.copy() for feature in features]

    def drawn(rows: set[int], seed: int = 1, epoch: int = 0) -> list[list[int]]:
        some = [feature for feature in features if feature.row in rows]
        return [f.label.tolist() for f in task.augment(some, seed=seed, epoch=epoch)]

    whole = drawn(set(range(6)))
    assert drawn({0, 1, 2}) + drawn({3, 4, 5}) == whole
    assert drawn(set(range(6)), epoch=1) != whole
    assert drawn(set(range(6)), seed=2) != whole
    for feature, ids in zip(features, before, strict=True):
        np.testing.assert_array_equal(feature.input_ids, ids)


def test_evaluation_is_the_mean_over_hidden_words_and_repeats_exactly():
    made = model()
    rows = as_rows([{"text": row["text"] * 3} for row in tiny_rows(12)])
    task = MaskedLM(MaskedLMSettings(text_column="text", max_length=20))
    engines = [Engine(made, precision="fp32", token_budget=budget) for budget in (40, 4000)]
    first, second = (evaluate_rows(e, task, rows, made.tokenizer).metrics for e in engines)
    assert first == pytest.approx(second, rel=1e-5)
    features = task.encode(rows.rows(range(12)), range(12), made.tokenizer, with_labels=True)
    losses, right = [], []
    for feature in task.augment(features, seed=0, epoch=0):
        with torch.inference_mode():
            logits = made(torch.from_numpy(feature.input_ids)[None].long()).logits[0]
        chosen = feature.label != -100
        labels = torch.from_numpy(feature.label[chosen]).long()
        losses += torch.nn.functional.cross_entropy(
            logits[chosen], labels, reduction="none"
        ).tolist()
        right += (logits[chosen].argmax(-1) == labels).tolist()
    assert first["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert first["perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-3)
    assert first["masked_accuracy"] == pytest.approx(np.mean(right))


def test_evaluation_of_pairs_counts_words_and_sentences():
    made = model("pretraining")
    rows = [
        {"text": "the film", "text_pair": "was good " * (n + 1), "next_sentence_label": n % 2}
        for n in range(9)
    ]
    task = Pretraining.learn(as_rows(rows), PretrainingSettings(max_length=32))
    engine = Engine(made, precision="fp32", token_budget=50)
    found = evaluate_rows(engine, task, as_rows(rows), made.tokenizer).metrics
    right, losses = [], []
    for row in rows:
        inputs = made.tokenizer(row["text"], row["text_pair"], return_tensors="pt")
        features = task.augment(
            task.encode([row], [rows.index(row)], made.tokenizer, with_labels=True),
            seed=0,
            epoch=0,
        )
        inputs["input_ids"] = torch.from_numpy(features[0].input_ids)[None].long()
        with torch.inference_mode():
            logits = made(**inputs).seq_relationship_logits[0]
        right.append(int(logits.argmax()) == row["next_sentence_label"])
        losses.append(-float(logits.log_softmax(-1)[row["next_sentence_label"]]))
    assert found["next_sentence_accuracy"] == pytest.approx(np.mean(right))
    assert found["loss"] == pytest.approx(np.log(found["perplexity"]) + np.mean(losses), rel=1e-4)


def test_pairs_that_are_no_pairs_say_how_to_make_them():
    with pytest.raises(DataError, match="SentencePairs"):
        Pretraining.learn(as_rows([{"text": "a"}]), PretrainingSettings())
    task = Pretraining(PretrainingSettings(max_length=32))
    row = {"text": "a", "text_pair": "b", "next_sentence_label": 2}
    with pytest.raises(DataError, match="row 1: `next_sentence_label` must be 0"):
        task.encode([row], [0], tiny_tokenizer(), with_labels=True)


def test_rows_of_ids_may_be_masked_already():
    task = MaskedLM(MaskedLMSettings(max_length=16))
    rows = [
        {"input_ids": torch.tensor([[2, 11, 12, 3, 0]]), "attention_mask": [[1, 1, 1, 1, 0]]},
        {"input_ids": [2, MASK, 3], "labels": [-100, 12, -100]},
    ]
    features = task.encode(rows, [0, 1], tiny_tokenizer(), with_labels=True)
    assert features[0].input_ids.tolist() == [2, 11, 12, 3]
    hidden = task.augment(features, seed=0, epoch=0)
    assert hidden[1].label.tolist() == [-100, 12, -100]
    for bad in (
        {"input_ids": [2, 900, 3]},
        {"input_ids": [2, 3], "labels": [1]},
        {"input_ids": []},
    ):
        with pytest.raises(DataError, match="row 8"):
            task.encode([bad], [7], tiny_tokenizer(), with_labels=True)


def test_a_backbone_scores_words_where_its_checkpoint_can(tmp_path: Path):
    folder = tiny_folder(tmp_path / "masked", "masked_lm")
    ids = torch.tensor([[2, 11, MASK, 12, 3], [2, 11, 3, 0, 0]])
    mask = (ids != 0).long()
    bare = BertModel.from_pretrained(folder)
    expected = BertForMaskedLM.from_pretrained(folder)(ids, mask).logits
    output = bare(ids, mask)
    torch.testing.assert_close(output.logits, expected)
    assert "logits" not in output.keys()  # noqa: SIM118
    assert len(list(bare.parameters())) == len(list(BertModel.from_pretrained(folder).parameters()))
    bare.save_pretrained(tmp_path / "bare")
    again = BertModel.from_pretrained(tmp_path / "bare")
    with pytest.raises(AttributeError, match="no head for words"):
        _ = again(ids, mask).logits


def test_a_pretrained_model_fills_masks(tmp_path: Path):
    made = model("pretraining")
    made.task_settings = {"task": "pretraining", "settings": {}}
    made.save_pretrained(tmp_path / "model")
    text = "a [MASK] film"
    from_folder = pipeline("fill-mask", tmp_path / "model", device="cpu", precision="fp32")(text)
    from_model = pipeline("fill-mask", made, precision="fp32")(text)
    assert from_folder == from_model


def test_a_model_without_the_head_is_refused():
    with pytest.raises(ConfigError, match="masked_lm"):
        MaskedLM(MaskedLMSettings()).prepare_model(model("sequence_classification"))
    with pytest.raises(ConfigError, match="cannot serve 'fill-mask'"):
        pipeline("fill-mask", model("sequence_classification"))
    with pytest.raises(ConfigError, match="`mask_probability` must be above 0"):
        MaskedLMSettings(mask_probability=0.0)


@pytest.mark.parametrize("options", [{"top_k": 4}, {"targets": ["good", "bad", "film"]}])
@pytest.mark.parametrize("text", ["a [MASK] film .", "the [MASK] was [MASK] 好"])
def test_answers_are_those_of_transformers(tmp_path: Path, text: str, options: dict) -> None:
    folder = tiny_folder(tmp_path / "model", "masked_lm")
    theirs = transformers.pipeline(
        "fill-mask",
        model=transformers.BertForMaskedLM.from_pretrained(folder),
        tokenizer=transformers.BertTokenizerFast.from_pretrained(folder),
        device="cpu",
    )(text, **options)
    ours = pipeline("fill-mask", folder, device="cpu", precision="fp32")(text, **options)
    single = text.count("[MASK]") == 1
    for mine, oracle in zip(
        [ours] if single else ours, [theirs] if single else theirs, strict=True
    ):
        assert [a["score"] for a in mine] == pytest.approx([a["score"] for a in oracle], rel=1e-3)
        assert [(a["token"], a["token_str"], a["sequence"]) for a in mine] == [
            (a["token"], a["token_str"], a["sequence"]) for a in oracle
        ]
