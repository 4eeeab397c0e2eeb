"""Tasks whose models write: what is learned, what is written, long texts, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import abrazo as az
from abrazo.data.rows import as_rows
from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import LossMeter
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.generating import engine_for
from abrazo.tasks.auto import learn_task, task_type
from abrazo.tasks.base import Task
from abrazo.tasks.pieces import cut_in_pieces, join_pieces
from abrazo.tasks.text_to_text import TextToTextSettings
from helpers.tiny import tiny_folder, tiny_tokenizer
from helpers.writers import CLS, SEP, tiny_bart, tiny_llama

PAIRS = [
    {"source": "a good film", "target": "很好"},
    {"source": "a bad film", "target": "糟糕"},
    {"source": "anna lives in paris", "target": "我住在北京"},
    {"source": "tom works at berlin", "target": "他工作"},
]
TEXTS = [{"text": "the film is good."}, {"text": "the plot was bad and dull."}]


def learned(name: str, rows: list[dict[str, Any]], model: Any, **settings: Any) -> Task:
    """Return a task that has settled on a model."""
    task = learn_task(name, as_rows(rows), settings)
    task.prepare_model(model)
    return task


def train(model: Any, rows: Any, folder: Path, task: str) -> az.Trainer:
    """Train until small data is known by heart."""
    args = az.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=60,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        precision="fp32",
        save_strategy="no",
        logging_steps=1000,
        report_to=[],
    )
    trainer = az.Trainer(model, args, train_dataset=rows, task=task)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("name", "rows", "source", "target"),
    [
        ("translation", {"src": "a", "translation": "b"}, "src", "translation"),
        ("summarization", {"article": "a", "highlights": "b"}, "article", "highlights"),
        ("summarisation", {"text": "a", "title": "b"}, "text", "title"),
        ("text2text-generation", {"input": "a", "output": "b"}, "input", "output"),
    ],
)
def test_columns_are_found(name: str, rows: dict[str, str], source: str, target: str) -> None:
    task = learn_task(name, as_rows([rows]))
    assert (task.settings.source_column, task.settings.target_column) == (source, target)


def test_what_is_learned_is_the_target_moved_on_by_one() -> None:
    model = tiny_bart()
    task = learned("translation", PAIRS, model)
    features = task.encode(PAIRS, range(4), model.tokenizer, with_labels=True)
    batch = task.collate(features)
    assert batch.source is not None
    assert batch.labels is not None
    assert batch.source.layout.num_rows == batch.layout.num_rows == 4
    ends = batch.layout.offsets
    for row in range(4):
        labels = batch.labels[ends[row] : ends[row + 1]].tolist()
        inputs = batch.input_ids[ends[row] : ends[row + 1]].tolist()
        assert inputs == [CLS, *labels[:-1]]
        assert labels[-1] == SEP
        assert labels == features[batch.rows[row]].label.tolist()


def test_the_loss_is_that_of_a_padded_call() -> None:
    model = tiny_bart()
    task = learned("translation", PAIRS, model)
    features = task.encode(PAIRS, range(4), model.tokenizer, with_labels=True)
    loss, _ = model.compute_loss(task.collate(features))
    inputs = model.tokenizer([row["source"] for row in PAIRS], padding=True, return_tensors="pt")
    labels = model.tokenizer([row["target"] for row in PAIRS], padding=True, return_tensors="pt")
    wanted = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    padded = model(inputs["input_ids"], inputs["attention_mask"], labels=wanted)
    torch.testing.assert_close(loss.mean, padded.loss)


def test_small_data_is_learned_by_heart_and_served_as_evaluated(tmp_path: Path) -> None:
    trainer = train(tiny_bart(), PAIRS, tmp_path / "run", "translation")
    figures = trainer.evaluate(PAIRS)
    assert figures["eval_bleu"] > 90
    assert figures["eval_loss"] < 0.2
    trainer.save_model(tmp_path / "model")
    translate = az.pipeline("translation", tmp_path / "model", precision="fp32")
    written = [answer["translation_text"] for answer in translate([r["source"] for r in PAIRS])]
    assert [text.replace(" ", "") for text in written] == [row["target"] for row in PAIRS]
    assert translate("a good film") == translate(["a good film"])[0]


def test_bert_learns_to_go_on_and_to_end(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "gaps", "masked_lm")
    model = az.BertLM.from_pretrained(tmp_path / "gaps", is_decoder=True)
    train(model, TEXTS, tmp_path / "run", "text-generation").save_model(tmp_path / "model")
    writer = az.BertLM.from_pretrained(tmp_path / "model")
    assert writer.generation_config.end_ids == (SEP,)
    ids = writer.tokenizer("the plot", return_tensors="pt")["input_ids"]
    written = writer.generate(ids, max_length=20, num_return_sequences=1)[0]
    text = writer.tokenizer.decode(written, skip_special_tokens=True)
    assert text == "the plot was bad and dull."
    assert written[-1] == SEP
    go_on = az.pipeline("text-generation", tmp_path / "model", precision="fp32")
    assert go_on("the plot")["generated_text"] == text
    assert "the plot" + "".join(az.stream(writer, "the plot")) == text


@pytest.mark.parametrize("trained_for", [None, "fill-mask"])
def test_bert_that_guesses_masked_words_writes_by_filling_masks(
    trained_for: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_folder(tmp_path / "model", "masked_lm")
    if trained_for is not None:
        model = az.load_model(folder)
        learned("fill-mask", TEXTS, model, mask_probability=0.3)
        model.save_pretrained(folder)
    writer = az.BertLM.from_pretrained(folder)
    ids = writer.tokenizer("the plot", return_tensors="pt")["input_ids"]
    (written,) = writer.generate(ids, max_new_tokens=5)
    text = writer.tokenizer.decode(written, skip_special_tokens=True)
    assert text.startswith("the plot ")
    for given in (folder, writer):
        go_on = az.pipeline("text-generation", given, precision="fp32", return_full_text=True)
        assert type(go_on.engine.model) is az.BertForMaskedLM
        assert go_on("the plot", max_new_tokens=5) == {"generated_text": text}
    pieces = go_on.writing(max_new_tokens=5).as_written("the plot")  # type: ignore[attr-defined]
    assert "the plot" + "".join(pieces) == text
    assert "train before use" not in caplog.text
    with pytest.raises(ConfigError, match=r"by filling masks .* cannot be evaluated on 'text-gen"):
        evaluate_rows(go_on.engine, go_on.task, as_rows(TEXTS), go_on.tokenizer)
    with pytest.raises(ConfigError, match="needs a model with the head 'causal_lm'"):
        learned("text-generation", TEXTS, writer)  # which is how training begins


def test_texts_are_as_long_as_the_decoder_reads_unless_a_limit_is_named() -> None:
    model = tiny_bart()
    tokenizer = model.tokenizer

    def limit(**settings: Any) -> int | None:
        task = task_type("translation").of_model(model, TextToTextSettings(generation=settings))
        return task.generation_config(tokenizer).max_new_tokens

    assert limit() is None  # the model names one
    model.generation_config = az.GenerationConfig()
    assert limit() == 63
    assert limit(max_new_tokens=5) == 5
    assert limit(max_length=9) is None


def test_several_texts_are_a_list() -> None:
    model = tiny_bart()
    learned("translation", PAIRS, model)
    translate = az.pipeline("translation", model, precision="fp32")
    answers = translate("a film", num_beams=3, num_return_sequences=2)
    assert [list(answer) for answer in answers] == [["translation_text"]] * 2
    many = translate(["a film", "a bad film"], num_beams=3, num_return_sequences=2)
    assert many[0] == answers


def test_evaluation_may_leave_writing_out() -> None:
    model = tiny_bart()
    task = learned("translation", PAIRS, model, writes_in_evaluation=False)
    engine = engine_for(task, model, model.tokenizer, precision="fp32")
    assert list(evaluate_rows(engine, task, as_rows(PAIRS), model.tokenizer).metrics) == ["loss"]


def test_the_loss_of_evaluation_is_the_mean_over_all_tokens() -> None:
    model = tiny_bart()
    task = learned("translation", PAIRS, model)
    engine = engine_for(task, model, model.tokenizer, precision="fp32", token_budget=8)
    features = task.encode(PAIRS, range(4), model.tokenizer, with_labels=True)
    whole, _ = model.compute_loss(task.collate(features))
    meter = LossMeter()
    list(engine.run(features, task.collate, meter))
    assert meter.mean == pytest.approx(float(whole.mean.detach()), abs=1e-5)


# Long texts ------------------------------------------------------------------------------------


def test_long_sources_are_written_for_piece_by_piece() -> None:
    model = tiny_bart(positions=12)
    task = learned("summarization", [{"text": "a", "summary": "b"}], model)
    long = "a good film. the plot was bad. anna lives in paris. tom works at berlin."
    (feature,) = task.encode([{"text": long}], [0], model.tokenizer, with_labels=False)
    requests = task.requests(feature)
    assert len(requests) > 1
    assert all(len(request.source) <= 12 for request in requests)
    summarize = az.pipeline("summarization", model, precision="fp32")
    pieces = cut_in_pieces(long, model.tokenizer, 12)
    alone = [summarize(piece.text)["summary_text"] for piece in pieces]
    assert summarize(long)["summary_text"] == join_pieces(alone, pieces)


@pytest.mark.parametrize("limit", [5, 7, 12, 64])
@pytest.mark.parametrize(
    "text",
    [
        "a good film. the plot was bad!  anna lives in paris.\n\ntom works at berlin. boring",
        "这部电影很好看。我不住在北京！你是他的，我住在上海工作。",
        "the film is good and the plot is great and the end is bad and we live in paris",
        "我住在北京我住在上海我住在北京我住在上海我住在北京",
    ],
)
def test_pieces_are_the_text_again_and_short_enough(text: str, limit: int) -> None:
    tokenizer = tiny_tokenizer()
    pieces = cut_in_pieces(text, tokenizer, limit)
    assert "".join(piece.before + piece.text for piece in pieces) == text
    assert all(len(tokenizer(piece.text)["input_ids"]) <= limit for piece in pieces)


# Decoders --------------------------------------------------------------------------------------


def test_plain_texts_are_learned_whole_and_end(tmp_path: Path) -> None:
    trainer = train(tiny_llama(), TEXTS, tmp_path / "run", "text-generation")
    figures = trainer.evaluate(TEXTS)
    assert figures["eval_perplexity"] < 3
    trainer.save_model(tmp_path / "model")
    go_on = az.pipeline("text-generation", tmp_path / "model", precision="fp32")
    assert go_on("the plot", max_new_tokens=12)["generated_text"].startswith("the plot was bad")
    alone = az.pipeline(
        "text-generation", tmp_path / "model", precision="fp32", return_full_text=False
    )
    assert alone("the plot", max_new_tokens=12)["generated_text"].strip().startswith("was bad")


def test_long_texts_are_cut_in_blocks_and_nothing_is_lost() -> None:
    model = tiny_llama(positions=8)
    task = learned("text-generation", TEXTS, model)
    text = "the film is good and the plot was bad and dull and boring"
    features = task.encode([{"text": text}], [0], model.tokenizer, with_labels=True)
    joined = np.concatenate([feature.input_ids for feature in features])
    assert joined.tolist() == model.tokenizer(text)["input_ids"]
    assert all(2 <= len(feature.input_ids) <= 8 for feature in features)


def test_of_prompts_only_the_answer_is_learned() -> None:
    model = tiny_llama()
    rows = [{"prompt": "the film is ", "completion": "good"}]
    task = learned("text-generation", rows, model)
    (feature,) = task.encode(rows, [0], model.tokenizer, with_labels=True)
    kept = feature.label != -100
    assert model.tokenizer.decode(feature.input_ids[kept].tolist()) == "good [SEP]"


def test_of_conversations_only_the_assistant_is_learned() -> None:
    model = tiny_llama()
    model.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role == 'user' and 'you' or 'i' }} {{ m.content }} [SEP] "
        "{% endfor %}{% if add_generation_prompt %}i {% endif %}"
    )
    turns = [
        {"role": "user", "content": "the film"},
        {"role": "assistant", "content": "is good"},
    ]
    rows = [{"messages": turns}]
    task = learned("text-generation", rows, model)
    (feature,) = task.encode(rows, [0], model.tokenizer, with_labels=True)
    said = model.tokenizer.decode(feature.input_ids[feature.label != -100].tolist())
    assert "is good" in said
    assert "film" not in said
    chat = az.pipeline("text-generation", model, precision="fp32")
    (answer,) = [chat(turns[:1], max_new_tokens=3)["generated_text"]]
    assert answer[0] == turns[0]
    assert answer[1]["role"] == "assistant"


def test_rows_of_ids_are_learned_as_they_are() -> None:
    model = tiny_llama()
    rows = [{"input_ids": [5, 6, 7], "attention_mask": [1, 1, 0]}]
    task = learned("text-generation", rows, model)
    (feature,) = task.encode(rows, [0], model.tokenizer, with_labels=True)
    assert feature.input_ids.tolist() == feature.label.tolist() == [5, 6]


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"source": "a", "target": None}], "row 1: `target`"),
        ([{"source": "a", "target": "  "}], "row 1: `target`"),
        ([{"source": "a", "target": "b"}, {"source": 3, "target": "b"}], "row 2: `source`"),
        ([{"source": "", "target": "b"}], "row 1: `source`"),
    ],
)
def test_texts_must_be_texts(rows: list[dict[str, Any]], message: str) -> None:
    model = tiny_bart()
    task = learned("translation", PAIRS, model)
    with pytest.raises(DataError, match=message):
        task.encode(rows, range(len(rows)), model.tokenizer, with_labels=True)


def test_a_prompt_longer_than_the_model_is_refused() -> None:
    model = tiny_llama(positions=8)
    go_on = az.pipeline("text-generation", model, precision="fp32")
    with pytest.raises(DataError, match=r"row 1: the prompt has \d+ tokens"):
        go_on("the film is good and the plot was bad and dull")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"num_beems": 2}, "num_beams"),
        ({"temperature": 0.5, "do_sample": False}, "temperature"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "min_new_tokens"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    model = tiny_bart()
    learned("translation", PAIRS, model)
    with pytest.raises(ConfigError, match=message):
        az.pipeline("translation", model, precision="fp32")("a film", **options)


def test_a_conversation_in_which_the_assistant_is_silent_is_refused() -> None:
    model = tiny_llama()
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    rows = [{"messages": [{"role": "user", "content": "the film"}]}]
    task = learned("text-generation", rows, model)
    with pytest.raises(DataError, match="row 1: the assistant says nothing"):
        task.encode(rows, [0], model.tokenizer, with_labels=True)


def test_a_model_of_another_kind_is_refused() -> None:
    for name in ("translation", "summarization", "text2text-generation"):
        with pytest.raises(ConfigError, match="seq2seq_lm"):
            task_type(name).of_model(tiny_llama())
