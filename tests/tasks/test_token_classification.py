"""Names in texts: from rows in any form to spans, in training, evaluation and pipelines alike."""

import json
import logging
import resource
import time

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as NativeTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors

from abrazo.data.rows import as_rows
from abrazo.data.starter import load_starter
from abrazo.errors import ConfigError, DataError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import Pipeline, pipeline
from abrazo.metrics.tags import find_spans
from abrazo.tasks.auto import learn_task, task_for_model, task_type
from abrazo.tasks.token_classification import TokenClassification, TokenClassificationSettings
from abrazo.tokenization.tokenizer import Tokenizer
from helpers.tiny import tiny_bert, tiny_tokenizer
from helpers.training import small_model, small_trainer

NAME = "token-classification"
PEOPLE, PLACES = ["Anna", "Maria", "Tom"], ["Paris", "Berlin"]


def spanned_rows(count=32):
    """Return English and Chinese rows by turns, with spans of characters."""
    rows = []
    for number in range(count):
        person, place = PEOPLE[number % 3], PLACES[number % 2]
        if number % 4 == 3:
            text, found = "我的电影很好看。" * (1 + number % 3), []
        elif number % 4 == 2:
            text = f"{'他很好，' * (number % 3)}你住在北京。"
            found = [("北京", "LOC")]
        else:
            text = (
                f"{person} {PEOPLE[(number + 1) % 3]} lives in {place}, and works " + "a " * number
            )
            found = [(f"{person} {PEOPLE[(number + 1) % 3]}", "PER"), (place, "LOC")]
        marks = [{"label": label, "start": text.index(name)} for name, label in found]
        for mark, (name, _) in zip(marks, found, strict=True):
            mark["end"] = mark["start"] + len(name)
        rows.append({"text": text, "entities": marks})
    return rows


def worded_rows():
    return [
        {"tokens": ["Anna", "Maria", "lives", "in", "Paris", "."],
         "ner_tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]},
        {"tokens": ["Tom", "works", "in", "Berlin"], "ner_tags": ["B-PER", "O", "O", "B-LOC"]},
        {"tokens": ["你", "住在", "北京"], "ner_tags": ["O", "O", "B-LOC"]},
    ]  # fmt: skip


def learn(rows, **settings):
    return learn_task(NAME, as_rows(rows), settings)


def ready(rows, *, trained=0, **settings):
    """Return a task, and a model for it after some steps on the rows."""
    task = learn(rows, **settings)
    model = tiny_bert("token_classification", id2label=dict(enumerate(task.tag_set.names)))
    model.tokenizer = tiny_tokenizer()
    task.prepare_model(model)
    features = encode(task, rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(trained):
        loss, _ = model.compute_loss(task.collate(features))
        optimizer.zero_grad()
        loss.mean.backward()
        optimizer.step()
    return task, model


def encode(task, rows, tokenizer=None, *, with_labels=True):
    if task.settings.max_length is None:
        task.settings = task.settings.replace(max_length=64)
    return task.encode(
        rows, range(len(rows)), tokenizer or tiny_tokenizer(), with_labels=with_labels
    )


def marked_pieces(task, rows, tokenizer=None):
    """Return for each row its pieces with their tags, as `decode` shows them."""
    tokenizer = tokenizer or tiny_tokenizer()
    shown = []
    for feature in encode(task, rows, tokenizer):
        names = [None if tag < 0 else task.tag_set.names[tag] for tag in feature.label]
        shown.append(tokenizer.decode(feature.input_ids, pieces=names))
    return shown


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    rows = spanned_rows()
    return rows, *ready(rows, trained=60)


# Learning from rows ---------------------------------------------------------------------------


def test_columns_tags_and_units_are_found():
    settings = learn(spanned_rows()).settings
    assert (settings.text_column, settings.label_column) == ("text", "entities")
    assert settings.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert (settings.scheme, settings.aggregation_strategy) == ("BIO", "average")
    settings = learn(worded_rows()).settings
    assert (settings.text_column, settings.label_column) == ("tokens", "ner_tags")
    assert settings.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_slots_are_found_beside_the_class_of_the_row():
    rows = [
        {"text": "in Paris", "label": "X", "tokens": ["in", "Paris"], "slot_tags": ["O", "B-p"]}
    ]
    settings = learn(rows).settings
    assert (settings.text_column, settings.label_column) == ("tokens", "slot_tags")


def test_parts_of_speech_are_tags_of_words():
    rows = [{"tokens": ["Tom", "works"], "pos_tags": ["NOUN", "VERB"]}]
    task, model = ready(rows, trained=30)
    assert task.settings.scheme == "tags"
    assert model.config.labels == ["NOUN", "VERB"]
    answers = Pipeline(task, model, model.tokenizer)(["Tom works"])[0]
    assert [(a["label"], a["text"]) for a in answers] == [("NOUN", "Tom"), ("VERB", "works")]
    assert evaluate_rows(Engine(model), task, as_rows(rows), model.tokenizer).metrics["f1"] == 1.0


def test_numbers_need_names():
    rows = [{"tokens": ["Tom", "works"], "ner_tags": [1, 0]}]
    with pytest.raises(DataError, match=r'labels=\["O", "B-PER", "I-PER"\]'):
        learn(rows)
    task = learn(rows, labels=["O", "B-PER", "I-PER"])
    assert marked_pieces(task, rows) == ["[CLS] tom/B-PER works/O [SEP]"]


def test_types_given_are_kept_in_order_and_tags_completed():
    assert learn(spanned_rows(), labels=["PER", "LOC"]).tag_set.types == ("PER", "LOC")
    rows = [{"tokens": ["Tom"], "ner_tags": ["B-PER"]}]
    assert learn(rows, labels=["B-PER", "O"]).tag_set.names == ("B-PER", "O", "I-PER")


def test_spans_inside_words_make_each_piece_a_unit(caplog):
    rows = [{"text": "films", "entities": [(0, 4, "THING")]}]
    with caplog.at_level(logging.INFO, "abrazo"):
        task = learn(rows)
    assert "1 of 1 spans begin or end inside a word" in caplog.text
    assert task.settings.aggregation_strategy == "simple"
    assert marked_pieces(task, rows) == ["[CLS] film/B-THING ##s/O [SEP]"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"tokens": ["a"], "ner_tags": ["O"]}], "No row has a label in `ner_tags` other than `O`"),
        ([{"text": "a", "entities": []}], "No row has a label in `entities`"),
        ([{"text": "a"}], "No column for the label .* `label_column=...`"),
        ([{"label": ["O"]}], "No column for the text"),
        ([{"tokens": ["a"], "tags": ["B-X"]}, {"tokens": ["a"], "tags": ["X"]}],
         r'row 2: Tags must be `O` or begin with .* there is "X"'),
        ([{"tokens": ["a"], "tags": ["B-X"]}, {"tokens": ["a", "b"], "tags": ["B-X"]}],
         "row 2: `tags` has 1 labels, but `tokens` has 2 words"),
        ([{"text": "a", "spans": [(0, 1, "X")]}, {"text": "a", "spans": [{"start": 1}]}],
         "row 2: a span in `spans` must have a `label`"),
        ([{"text": "a", "spans": [(0, 1, "X")]}, {"text": "a", "spans": [(0, 2, "X")]}],
         "row 2: span 1 in `spans` must lie within 0 to 1"),
        ([{"text": "a", "label": "good"}], "row 1: `label` has 1 labels|No row"),
    ],
)  # fmt: skip
def test_rows_that_teach_nothing_are_named(rows, message):
    if "label` has 1" in message:
        rows = [{"text": "a fine film", "label": "good"}]
    with pytest.raises(DataError, match=message):
        learn(rows)


def test_settings_are_checked_all_at_once():
    with pytest.raises(ConfigError) as caught:
        TokenClassificationSettings(scheme="BOI", aggregation_strategy="mean", stride=-1)
    assert "Did you mean `BIO`?" in str(caught.value)
    assert "`aggregation_strategy` must be one of" in str(caught.value)
    assert "`stride` must be at least 0" in str(caught.value)
    with pytest.raises(ConfigError, match="must not name a label twice"):
        TokenClassificationSettings(labels=["O", "O"])


# Words, pieces and tags -----------------------------------------------------------------------


def test_all_pieces_of_a_word_learn_its_type_or_the_first_alone():
    rows = [{"tokens": ["Anna", "lives", "films"], "tags": ["O", "O", "B-X"]}]
    assert marked_pieces(learn(rows), rows) == ["[CLS] anna/O lives/O film/B-X ##s/I-X [SEP]"]
    first = learn(rows, aggregation_strategy="first")
    assert marked_pieces(first, rows) == ["[CLS] anna/O lives/O film/B-X ##s [SEP]"]


def test_chinese_characters_carry_their_own_tags():
    rows = [{"text": "你住在北京。", "entities": [(3, 5, "LOC")]}]
    shown = ["[CLS] 你/O 住/O 在/O 北/B-LOC 京/I-LOC 。/O [SEP]"]
    assert marked_pieces(learn(rows), rows) == shown
    rows = [{"tokens": list("你住在北京。"), "tags": ["O", "O", "O", "B-LOC", "I-LOC", "O"]}]
    assert marked_pieces(learn(rows), rows) == shown
    rows = [{"text": "Tom在Paris", "entities": [(0, 3, "PER"), (4, 9, "LOC")]}]
    assert marked_pieces(learn(rows), rows) == ["[CLS] tom/B-PER 在/O paris/B-LOC [SEP]"]


def test_the_scheme_with_ends_is_learned_when_asked_for():
    task = learn(worded_rows(), scheme="BIOES")
    assert marked_pieces(task, worded_rows())[:2] == [
        "[CLS] anna/B-PER maria/E-PER lives/O in/O paris/S-LOC ./O [SEP]",
        "[CLS] tom/S-PER works/O in/O berlin/S-LOC [SEP]",
    ]


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = NativeTokenizer(models.BPE({sign: n for n, sign in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(backend)


def sentence_pieces():
    pieces = ["<unk>", "▁", "▁Anna", "▁住", "北京市", "在", "▁lives", "in", "▁P", "aris", "我"]
    backend = NativeTokenizer(models.Unigram([(p, -1.0) for p in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return Tokenizer(backend)


@pytest.mark.parametrize("make", [tiny_tokenizer, byte_level, sentence_pieces])
@pytest.mark.parametrize("how", ["simple", "first", "average"])
def test_spans_come_back_from_the_tags_of_every_kind_of_tokenizer(make, how):
    rows = [
        {"text": "  Anna lives in\tParis 😀", "entities": [(2, 6, "PER"), (16, 21, "LOC")]},
        {"text": "我 住在北京市 Anna", "entities": [(4, 7, "LOC"), (8, 12, "PER")]},
        {"text": "", "entities": []},
        {"text": "Anna", "entities": [(0, 4, "PER")]},
    ]
    task = learn([row for row in rows if row["text"]], aggregation_strategy=how)
    tokenizer = make()
    features = encode(task, [row for row in rows if row["text"]], tokenizer)
    for feature, row in zip(features, [row for row in rows if row["text"]], strict=True):
        source = feature.source
        found = find_spans(task.tag_set.kind_of[source.tags], task.tag_set.type_of[source.tags])
        spans = [
            (int(source.places[start, 0]), int(source.places[end - 1, 1]), task.tag_set.types[kind])
            for start, end, kind in zip(found.starts, found.ends, found.types, strict=True)
        ]
        assert spans == row["entities"]
        assert source.is_exact


def test_rows_with_spans_that_end_inside_a_piece_are_counted_over_all_that_are_shown():
    plain = {"text": "Anna left", "entities": [(0, 4, "PER")]}
    inside = {"text": "我住北京市 Anna", "entities": [(2, 4, "LOC"), (6, 10, "PER")]}
    task = learn([plain, inside], aggregation_strategy="simple", max_length=32)
    remarks = task.new_remarks()
    for numbers, rows in ((range(3), [plain] * 3), (range(3, 6), [plain, inside, inside])):
        remarks.look_at(task.encode(rows, numbers, sentence_pieces(), with_labels=True))
    (message,) = remarks.messages(lambda number: f"row {number + 1}")
    assert message.startswith("2 of 6 rows, as row 5, have spans that begin or end inside a piece")
    assert task.new_remarks().messages(str) == []


def test_spans_that_end_inside_a_piece_count_as_missed():
    rows = [{"text": "我住北京市 Anna", "entities": [(2, 4, "LOC"), (6, 10, "PER")]}]
    task = learn(rows, aggregation_strategy="simple")
    tokenizer = sentence_pieces()
    feature = encode(task, rows, tokenizer)[0]
    assert not feature.source.is_exact
    tags = feature.source.tags  # as good as pieces can say it
    scores = np.eye(len(task.tag_set))[np.maximum(feature.label, 0)] * 9
    prediction = task.predict([feature], [{"logits": scores}])
    assert prediction.tags.tolist() == tags.tolist()
    metrics = task.new_metrics()
    for arrays in task.to_arrays([prediction], [task.row_label([feature])]):
        metrics.update(*arrays)
    found = metrics.compute()
    assert found["precision"] == found["recall"] == 0.5
    assert found["partial_f1"] == 1.0


def test_a_span_without_any_piece_is_missed():
    rows = [{"text": "Anna \u200b", "entities": [(5, 6, "X"), (0, 4, "PER")]}]
    task = learn(rows)
    feature = encode(task, rows)[0]
    scores = np.eye(len(task.tag_set))[np.maximum(feature.label, 0)] * 9
    prediction = task.predict([feature], [{"logits": scores}])
    metrics = task.new_metrics()
    for arrays in task.to_arrays([prediction], [task.row_label([feature])]):
        metrics.update(*arrays)
    figures = metrics.compute()
    assert (figures["precision"], figures["recall"]) == (1.0, 0.5)


# Training, evaluation, pipelines --------------------------------------------------------------


def test_a_small_model_learns_32_rows_by_heart(trained):
    rows, task, model = trained
    found = evaluate_rows(Engine(model), task, as_rows(rows), model.tokenizer)
    assert found.metrics["f1"] == 1.0
    assert found.metrics["accuracy"] == 1.0
    assert found.num_truncated == 0
    assert [each.label for each in found.details.classes] == ["LOC", "PER"]
    answers = Pipeline(task, model, model.tokenizer)([row["text"] for row in rows])
    for row, spans in zip(rows, answers, strict=True):
        assert [{k: span[k] for k in ("label", "start", "end")} for span in spans] == row[
            "entities"
        ]
        assert all(span["text"] == row["text"][span["start"] : span["end"]] for span in spans)
        assert all(0.5 < span["score"] <= 1 for span in spans)
    json.dumps(answers)


def test_the_trainer_learns_it_from_rows_alone(tmp_path):
    rows = spanned_rows()
    model = small_model("token_classification", num_labels=5, dropout=0.0)
    trainer = small_trainer(
        tmp_path,
        options={"model": model, "train_dataset": rows, "eval_dataset": rows},
        num_train_epochs=12,
        learning_rate=1e-2,
        metric_for_best_model="f1",
    )
    trainer.train()
    assert trainer.evaluate()["eval_f1"] > 0.9
    assert model.config.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert trainer.predict(["Anna lives"]).predictions.shape == (1, 2, 5)


@pytest.mark.parametrize("how", ["simple", "first", "average", "max"])
def test_pipelines_answer_what_evaluation_counts(how):
    rows = spanned_rows(12)
    task, model = ready(rows, trained=8, aggregation_strategy=how)
    found = evaluate_rows(Engine(model), task, as_rows(rows), model.tokenizer)
    hits = said = there = 0
    for row, spans in zip(rows, Pipeline(task, model, model.tokenizer)(rows), strict=True):
        right = {(mark["label"], mark["start"], mark["end"]) for mark in row["entities"]}
        given = {(span["label"], span["start"], span["end"]) for span in spans}
        hits, said, there = hits + len(right & given), said + len(given), there + len(right)
    assert found.metrics["precision"] == pytest.approx(hits / said if said else 0)
    assert found.metrics["recall"] == pytest.approx(hits / there)


def test_words_are_answered_as_their_joined_text(trained):
    _, task, model = trained
    ask = Pipeline(task, model, model.tokenizer)
    expected = ask("Anna Maria lives in Paris")
    assert ask([["Anna", "Maria", "lives", "in", "Paris"]]) == [expected]
    assert ask({"tokens": ["Anna", "Maria", "lives", "in", "Paris"]}) == expected
    assert ask({"text": "Anna Maria lives in Paris", "id": 3}) == expected
    with pytest.raises(DataError, match="A text, a list of words or a mapping is wanted, not 3"):
        ask([3])


def test_a_saved_model_answers_the_same(trained, tmp_path):
    rows, task, model = trained
    model.save_pretrained(tmp_path)
    texts = [row["text"] for row in rows]
    before = Pipeline(task, model, model.tokenizer)(texts)
    loaded = pipeline(NAME, tmp_path)
    assert loaded(texts) == before
    assert pipeline("ner", tmp_path)(texts) == before
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == dict(zip("01234", task.tag_set.names, strict=True))
    assert loaded.task.tag_set == task.tag_set
    kept = {**loaded.task.settings.to_dict(), "labels": task.settings.labels}
    assert kept == task.settings.to_dict()


def test_a_model_of_others_is_read_by_the_names_of_its_labels():
    labels = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    model = tiny_bert("token_classification", id2label=dict(enumerate(labels)))
    task = task_for_model(model)
    assert isinstance(task, TokenClassification)
    assert task.tag_set.types == ("MISC", "PER")
    assert task.how == "first"


def test_the_strategy_can_be_changed_where_it_is_served(trained, tmp_path):
    _, _, model = trained
    model.save_pretrained(tmp_path)
    text = "Anna Maria lives in Paris"
    pieces = pipeline(NAME, tmp_path, aggregation_strategy="none")(text)
    assert [piece["label"] for piece in pieces] == ["B-PER", "I-PER", "B-LOC"]
    assert pieces[1]["text"] == "Maria"
    tag = pipeline(NAME, tmp_path)
    assert tag(text, aggregation_strategy="none") == pieces
    assert tag(text) != pieces
    with pytest.raises(ConfigError, match=r"`aggregation_strategy` must be one of .*'mean'"):
        tag(text, aggregation_strategy="mean")
    spans = pipeline(NAME, tmp_path, aggregation_strategy="simple")(text)
    assert [span["text"] for span in spans] == ["Anna Maria", "Paris"]
    with pytest.raises(ConfigError, match="Did you mean `aggregation_strategy`"):
        pipeline(NAME, tmp_path, agregation_strategy="max")


def test_candidates_are_given_when_asked_for(trained):
    _, task, model = trained
    span = Pipeline(task, model, model.tokenizer)("Anna Maria lives in Paris", top_k=None)[0]
    assert span["candidates"][0]["label"] == span["label"] == "PER"
    assert {each["label"] for each in span["candidates"]} == {"LOC", "PER"}
    assert span["candidates"][0]["score"] == span["score"]


def test_answers_are_legal_unless_freedom_is_asked_for():
    rows = worded_rows()
    task, _ = ready(rows)
    feature = encode(task, rows[:1])[0]
    logits = np.zeros((len(feature.input_ids), 5))
    logits[:, 0] = 1
    logits[2, task.tag_set.names.index("I-PER")] = 2  # Maria, with nothing begun
    logits[2, task.tag_set.names.index("B-PER")] = 1.5
    tags = task.predict([feature], [{"logits": logits}]).tags
    assert task.tag_set.names[tags[1]] == "B-PER"
    free = learn(rows, is_constrained=False)
    tags = free.predict([feature], [{"logits": logits}]).tags
    assert free.tag_set.names[tags[1]] == "I-PER"


def test_a_models_head_must_fit():
    task = learn(spanned_rows())
    with pytest.raises(ConfigError, match="needs a model with the head 'token_classification'"):
        task.prepare_model(tiny_bert("sequence_classification"))
    with pytest.raises(ConfigError, match="2 classes, but 5 labels"):
        task.prepare_model(tiny_bert("token_classification"))


def test_wrong_rows_of_an_evaluation_are_named(trained):
    _, task, model = trained
    rows = [*spanned_rows(3), {"text": "Tom", "entities": [(0, 3, "PERS")]}]
    with pytest.raises(DataError, match=r'row 4: span 1 .* "PERS" .* Did you mean `PER`'):
        evaluate_rows(Engine(model), task, as_rows(rows), model.tokenizer)
    with pytest.raises(DataError, match="row 2: `text` holds half a surrogate pair"):
        encode(task, [{"text": "a"}, {"text": "a \ud83d"}], with_labels=False)


def test_mistakes_are_told_in_words(trained):
    rows, task, model = trained
    wrong = [{"text": rows[0]["text"], "entities": [(0, 4, "LOC")]}, {"text": "我", "entities": []}]
    found = evaluate_rows(Engine(model), task, as_rows(wrong), model.tokenizer)
    assert found.wrong[0].label == "Anna (LOC)"
    assert found.wrong[0].predicted == "Anna Maria (PER), Paris (LOC)"
    assert 0.5 < found.wrong[0].score <= 1


def test_functions_of_all_predictions_see_padded_arrays(trained):
    rows, task, model = trained
    kept = evaluate_rows(Engine(model), task, as_rows(rows), model.tokenizer, keep_predictions=True)
    assert kept.predictions is not None
    assert kept.predictions.shape[::2] == (32, 5)
    chosen = kept.predictions.argmax(-1)
    assert (chosen == kept.labels)[kept.labels != -100].all()


# Long texts -----------------------------------------------------------------------------------


def long_text(characters):
    sentence = "Anna Maria lives in Paris and works at the plot. 你住在北京。 "
    return (sentence * (characters // len(sentence) + 1))[:characters]


def test_windows_change_nothing_for_short_texts(trained):
    rows, task, model = trained
    narrow = task.settings.replace(max_length=48, stride=12)
    texts = [row["text"] for row in rows]
    assert max(len(model.tokenizer(text)["input_ids"]) for text in texts) < 48
    wide = Pipeline(task, model, model.tokenizer)(texts)
    assert Pipeline(TokenClassification(narrow), model, model.tokenizer)(texts) == wide


def test_each_piece_of_a_long_text_is_learned_from_once(trained):
    _, task, _ = trained
    text = long_text(1000)
    start = text.index("Paris", 500)
    row = {"text": text, "entities": [(start, start + 5, "LOC")]}
    features = encode(task, [row])
    assert len(features) > 3
    assert {feature.row for feature in features} == {0}
    labelled = sum((feature.label >= 0).sum() for feature in features)
    assert labelled == len(features[0].source.tags)
    assert sum((feature.label > 0).sum() for feature in features) == 1
    assert all(len(feature.input_ids) <= 64 for feature in features)


def test_every_piece_is_read_in_its_own_window(trained):
    _, task, _ = trained
    row = {"text": long_text(2000)}
    features = encode(task, [row], with_labels=False)
    person = task.tag_set.names.index("B-PER")
    outputs = []
    for feature in features:  # each window is sure of a name at the first piece that is its own
        logits = np.zeros((len(feature.input_ids), len(task.tag_set)))
        logits[:, 0] = 5
        logits[feature.window.kept_places.start, person] = 9
        outputs.append({"logits": logits})
    prediction = task.predict(features, outputs)
    assert len(prediction.tags) == len(features[0].source.unit_of_piece)
    kept = [feature.window.kept[0] for feature in features]
    assert np.flatnonzero(prediction.tags == person).tolist() == kept


def test_a_long_text_takes_time_and_memory_in_proportion(trained):
    _, task, model = trained
    ask = Pipeline(task, model, model.tokenizer)
    ask(long_text(5_000))

    def seconds(characters):
        text = long_text(characters)
        started = time.process_time()
        ask(text)
        return time.process_time() - started

    seconds(10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    short, long = seconds(20_000), seconds(100_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert long < 5 * short * 2
    assert grown < 300_000  # kilobytes


# The starter data -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_starter_data_can_be_learned(language):
    rows = load_starter(language)["train"]
    task = learn_task(NAME, as_rows(rows))
    assert task.settings.aggregation_strategy == "average"
    assert len(task.tag_set.types) > 3


def test_the_task_is_known_by_its_other_name():
    assert task_type("ner") is TokenClassification
