"""Answers out of contexts: in training, evaluation and pipelines alike."""

import dataclasses
import itertools
import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abrazo.data.loading import load_dataset
from abrazo.data.rows import as_rows
from abrazo.data.starter import load_starter
from abrazo.errors import ConfigError, DataError, TrainingError
from abrazo.inference.engine import Engine
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.pipeline import pipeline
from abrazo.metrics.answers import answer_f1, exact_match
from abrazo.tasks.auto import learn_task, task_for_model
from abrazo.tasks.multi_task import MultiTask
from abrazo.tasks.question_answering import QuestionAnswering, QuestionAnsweringSettings
from helpers.tiny import tiny_bert, tiny_tokenizer
from helpers.training import small_model, small_trainer

NAME = "question-answering"
HEAD = "question_answering"


def place_rows(count=16, *, filler=0):
    """Return questions of who lives where, English and Chinese by turns; the last has no answer."""
    rows = []
    for number, (person, town) in enumerate(
        itertools.islice(
            itertools.cycle(itertools.product(["tom", "anna", "maria"], range(2))), count
        )
    ):
        if number % 3 == 2:
            place = ["北京", "上海"][town]
            context, question = f"你好，我住在{place}工作。" + "很" * filler, "你住在？"
        else:
            place = ["paris", "berlin"][town]
            context = f"{person} lives in {place}." + " the film is good ." * filler
            question = f"where is {person}?"
        rows.append(
            {
                "context": context,
                "question": question,
                "answers": {"text": [place], "answer_start": [context.index(place)]},
            }
        )
    rows[-1] = {
        "context": "a film is a film.",
        "question": "where is tom?",
        "answers": {"text": [], "answer_start": []},
    }
    return rows


def one_row(context, answer, **more):
    answers = [] if answer is None else [{"text": answer, "start": context.index(answer)}]
    return {"context": context, "question": "where?", "answers": answers, **more}


def ready_task(rows=None, *, max_length=64, **given):
    """Return a task that is ready to encode."""
    task = learn_task(NAME, as_rows(rows or place_rows()), given)
    task.settings = task.settings.replace(max_length=max_length)
    return task


def encoded(task, rows, *, with_labels=True):
    return task.encode(rows, range(len(rows)), tiny_tokenizer(), with_labels=with_labels)


def said(features, spans):
    """Return outputs that are sure of the span of each of the features."""
    outputs = []
    for feature, (start, end) in zip(features, spans, strict=True):
        logits = np.zeros((2, len(feature.input_ids)), dtype=np.float32)
        logits[0, start] = logits[1, end] = 20
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    return outputs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that has learned its rows by heart."""
    rows = place_rows()
    trainer = small_trainer(
        tmp_path_factory.mktemp("run"),
        options={
            "model": small_model(HEAD, dropout=0.0),
            "train_dataset": rows,
            "eval_dataset": rows,
        },
        num_train_epochs=60,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        eval_strategy="no",
        logging_steps=1000,
    )
    trainer.train()
    return trainer


# What is learned ----------------------------------------------------------------------------


def test_training_learns_rows_by_heart(trained):
    figures = trained.evaluate()
    assert figures["eval_exact_match"] == figures["eval_f1"] == 1.0
    assert figures["eval_no_answer_accuracy"] == 1.0


def test_the_pipeline_gives_what_evaluation_counts(trained):
    rows = place_rows(24, filler=1)
    found = trained.evaluate(rows)
    answers = pipeline(NAME, trained.model)(rows)
    exact = [
        exact_match(a["answer"], r["answers"]["text"]) for a, r in zip(answers, rows, strict=True)
    ]
    shared = [
        answer_f1(a["answer"], r["answers"]["text"]) for a, r in zip(answers, rows, strict=True)
    ]
    assert found["eval_exact_match"] == pytest.approx(np.mean(exact))
    assert found["eval_f1"] == pytest.approx(np.mean(shared))
    for answer, row in zip(answers, rows, strict=True):
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"]


def test_a_saved_model_gives_the_same_answers(trained, tmp_path):
    trained.model.save_pretrained(tmp_path / "model")
    rows = place_rows()
    again = pipeline(NAME, tmp_path / "model")
    assert again.task.settings.handle_impossible_answer
    assert again(rows, top_k=3) == pipeline(NAME, trained.model)(rows, top_k=3)


def test_predictions_of_the_trainer_are_answers(trained):
    rows = place_rows()
    found = trained.predict(rows)
    assert list(found.predictions) == [(*row["answers"]["text"], "")[0] for row in rows]
    assert found.label_ids[0] == ("paris",)


def test_mistakes_are_listed_surest_first(trained):
    rows = [{**row, "answers": {"text": ["nowhere"], "answer_start": [0]}} for row in place_rows()]
    rows = [{**row, "context": "nowhere " + row["context"]} for row in rows]
    found = evaluate_rows(
        Engine(trained.model, precision="fp32"), trained.task, as_rows(rows), tiny_tokenizer()
    )
    assert found.wrong
    assert {wrong.label for wrong in found.wrong} == {"nowhere"}
    scores = [wrong.score for wrong in found.wrong]
    assert scores == sorted(scores, reverse=True)


def test_nested_files_train_and_evaluate(tmp_path):
    paragraphs = []
    for number, row in enumerate(place_rows()):
        pairs = zip(*row["answers"].values(), strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        question = {"id": str(number), "question": row["question"], "answers": answers}
        paragraphs.append({"context": row["context"], "qas": [question]})
    path = tmp_path / "train.json"
    path.write_text(
        json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]})
    )
    data = load_dataset("json", data_files=str(path))
    trainer = small_trainer(
        tmp_path / "run",
        options={"model": small_model(HEAD), "train_dataset": data, "eval_dataset": data},
        max_steps=2,
        eval_strategy="no",
    )
    trainer.train()
    assert trainer.feeder.keeps_features
    assert 0 <= trainer.evaluate()["eval_f1"] <= 1


def test_wrong_rows_stop_a_run_before_its_first_step(tmp_path):
    rows = place_rows()
    rows[3]["answers"]["answer_start"] = [2]
    rows[5]["question"] = ""
    trainer = small_trainer(
        tmp_path,
        options={"model": small_model(HEAD), "train_dataset": rows, "eval_dataset": None},
    )
    with pytest.raises(
        TrainingError, match=r"row 4: the answer in `answers`(?s:.*)row 6: `question`"
    ):
        trainer.train()


# Columns and settings -------------------------------------------------------------------------


def test_columns_are_found_by_their_names():
    rows = [{"passage": "tom", "query": "who?", "answer": "tom", "answer_start": 0}]
    found = learn_task(NAME, as_rows(rows)).settings
    assert (found.text_column, found.question_column, found.label_column) == (
        *("passage", "query", "answer"),
    )
    assert found.handle_impossible_answer is False


def test_the_starter_data_is_read_as_it_is():
    rows = load_starter("zh")["train"]
    task = ready_task(rows)
    assert task.settings.handle_impossible_answer
    assert task.settings.text_column == "text"
    numbers = range(len(rows))
    features = task.encode(rows.rows(numbers), numbers, tiny_tokenizer(), with_labels=True)
    row = next(f for f in features if f.label[0] > 0)
    first, last = row.label
    (answer,) = [task.answer(task.predict([row], said([row], [(first, last)])))]
    assert answer["answer"] == row.source.answers[0]


def test_data_without_any_answer_is_refused():
    with pytest.raises(DataError, match="No row has an answer in `answers`"):
        learn_task(NAME, as_rows([one_row("tom", None)]))


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="No column for the question was found among `context`"):
        learn_task(NAME, as_rows([{"context": "a", "answers": []}]))
    task = ready_task()
    with pytest.raises(DataError, match="row 1: there is no column `question`, only `context`"):
        encoded(task, [{"context": "a"}], with_labels=False)


def test_settings_have_the_names_of_other_libraries_too():
    found = QuestionAnsweringSettings.from_dict(
        {"context_column": "a", "answers_column": "b", "doc_stride": 3, "max_answer_len": 4}
    )
    assert (found.text_column, found.label_column, found.stride, found.max_answer_length) == (
        *("a", "b", 3, 4),
    )


def test_wrong_settings_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        QuestionAnsweringSettings(
            stride=-1, max_answer_length=0, empty_windows=2, answer_places="fnd",
            null_threshold=float("nan"),
        )  # fmt: skip
    assert len(str(caught.value).splitlines()) == 5


def test_another_head_is_refused():
    model = tiny_bert("sequence_classification")
    with pytest.raises(ConfigError, match="needs a model with the head 'question_answering'"):
        ready_task().prepare_model(model)


def test_a_model_without_settings_answers(tmp_path):
    model = tiny_bert(HEAD)
    model.tokenizer = tiny_tokenizer()
    assert isinstance(task_for_model(model), QuestionAnswering)
    answer = pipeline(NAME, model)(question="where is tom?", context="tom lives in paris")
    assert answer["answer"]  # it was not trained to say that there is none


# Windows and places ---------------------------------------------------------------------------

PIECES = [*"北京上海好", "paris", "tom", "good", "😀", "👩‍🚀", "film", ",", "unknown"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=40), st.data())
def test_places_are_exact_in_every_script(pieces, data):
    gaps = [data.draw(st.sampled_from([" ", "  ", "\n"])) if piece.isascii() or len(piece) > 1
            or piece == "😀" else "" for piece in pieces]  # fmt: skip
    starts, context = [], ""
    for piece, gap in zip(pieces, gaps, strict=True):
        context += gap
        starts.append(len(context))
        context += piece + gap
    first = data.draw(st.integers(0, len(pieces) - 1))
    last = data.draw(st.integers(first, min(first + 5, len(pieces) - 1)))
    start, end = starts[first], starts[last] + len(pieces[last])
    answer = context[start:end]
    row = {"context": context, "question": "where?", "answers": [{"text": answer, "start": start}]}
    task = ready_task(max_length=20, stride=8)
    features = encoded(task, [row])
    learned = [feature for feature in features if feature.label[0] > 0]
    assert learned
    for feature in learned:
        assert feature.label[1] < feature.window.shown_places.stop
        shown = feature.source.places[feature.label - feature.window.first + feature.window.start]
        assert (shown[0, 0], shown[1, 1]) == (start, end)
    found = task.answer(task.predict(features, said(features, [f.label for f in features])))
    assert (found["answer"], found["start"], found["end"]) == (answer, start, end)


def test_short_contexts_are_read_as_the_tokenizer_reads_pairs():
    rows = place_rows()
    tokenizer = tiny_tokenizer()
    features = encoded(ready_task(), rows)
    assert len(features) == len(rows)
    for feature, row in zip(features, rows, strict=True):
        expected = tokenizer(row["question"], row["context"])
        assert feature.input_ids.tolist() == expected["input_ids"]
        assert feature.token_type_ids.tolist() == expected["token_type_ids"]


def test_windows_without_the_answer_point_at_the_first_token():
    row = one_row("the film is good . " * 10 + "tom lives in paris", "paris")
    features = encoded(ready_task(max_length=24, stride=6), [row])
    labels = [feature.label.tolist() for feature in features]
    assert len(features) > 3
    assert labels[0] == [0, 0]
    tokens = tiny_tokenizer().convert_ids_to_tokens(features[-1].input_ids.tolist())
    assert tokens[labels[-1][0]] == tokens[labels[-1][1]] == "paris"
    assert all(feature.input_ids[0] == tiny_tokenizer().cls_token_id for feature in features)


@pytest.mark.parametrize("size", [1, 3])
def test_a_window_shows_an_answer_as_a_whole_or_not_at_all(size):
    words = [str(number) for number in range(100, 160)]
    context = " ".join(words)
    rows = [one_row(context, " ".join(words[at : at + size])) for at in range(60 - size + 1)]
    for feature in encoded(ready_task(max_length=20, stride=5), rows):
        window, (start, end) = feature.window, feature.label.tolist()
        is_whole = window.start <= feature.row and feature.row + size <= window.start + window.count
        shift = window.first - window.start
        wanted = (feature.row + shift, feature.row + size - 1 + shift) if is_whole else (0, 0)
        assert (start, end) == wanted


def test_a_window_learns_the_first_answer_that_it_shows():
    context = "paris is good . " * 8 + "berlin"
    answers = {"text": ["berlin", "paris"], "answer_start": [context.index("berlin"), 0]}
    row = {"context": context, "question": "where?", "answers": answers}
    features = encoded(ready_task(max_length=20, stride=4), [row])
    first, last = features[0], features[-1]
    tokens = [tiny_tokenizer().convert_ids_to_tokens(f.input_ids.tolist()) for f in (first, last)]
    assert tokens[0][first.label[0]] == "paris"
    assert tokens[1][last.label[0]] == "berlin"


def test_windows_change_nothing_where_the_context_is_short(trained):
    rows = place_rows()
    whole = pipeline(NAME, trained.model, precision="fp32")(rows)
    strided = pipeline(NAME, trained.model, precision="fp32", stride=5)(rows)
    assert strided == whole


def test_an_answer_is_found_in_any_window():
    context = "the film is good . " * 12
    for place in (0, 100, 200):
        text = context[:place].rsplit(" ", 1)[0] + " paris " + context[place:]
        task = ready_task(max_length=24, stride=6)
        features = encoded(task, [one_row(text, "paris")])
        found = task.answer(task.predict(features, said(features, [f.label for f in features])))
        assert found == {
            "score": pytest.approx(1.0, abs=1e-6),
            "start": text.index("paris"),
            "end": text.index("paris") + 5,
            "answer": "paris",
        }


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 0.5), (1.0, 1)])
def test_a_share_of_the_windows_without_the_answer_is_learned(share, expected):
    rows = [one_row("good film . " * 40 + "paris", "paris")] * 20
    rows += [one_row("good film . " * 40, None)]
    task = ready_task(max_length=24, empty_windows=share)
    features = encoded(task, rows)
    chosen = task.choose(features, seed=1, epoch=0)
    kept = {id(feature) for feature in chosen}
    needed = [f for f in features if f.label[0] or not f.source.answers]
    assert all(id(feature) in kept for feature in needed)
    rest = len(features) - len(needed)
    assert (len(chosen) - len(needed)) / rest == pytest.approx(expected, abs=0.15)
    assert chosen == task.choose(features, seed=1, epoch=0)
    if share == 0.5:
        assert [id(f) for f in chosen] != [id(f) for f in task.choose(features, seed=1, epoch=1)]
        alone = [f for n in range(21) for f in task.choose(
            [f for f in features if f.row == n], seed=1, epoch=0)]  # fmt: skip
        assert [id(f) for f in alone] == [id(f) for f in chosen]  # whatever the batch


def test_every_row_keeps_a_window():
    rows = [
        one_row("good film . " * 20 + "tom lives in paris " * 20, "tom lives in paris " * 19)
    ] * 3
    rows = [{**row, "answers": [{**row["answers"][0], "text": row["answers"][0]["text"].strip()}]}
            for row in rows]  # fmt: skip
    task = ready_task(max_length=24, empty_windows=0.0)
    chosen = task.choose(encoded(task, rows), seed=0, epoch=0)
    assert [feature.row for feature in chosen] == [0, 1, 2]


def remarks_of(task, features):
    remarks = task.new_remarks()
    remarks.look_at(features)
    return remarks.messages(lambda number: f"row {number + 1}")


def test_answers_that_no_window_shows_are_told():
    answer = "tom lives in paris " * 10
    task = ready_task(max_length=24)
    rows = [one_row("a film", None), one_row("a " + answer, answer.strip())]
    (message,) = remarks_of(task, encoded(task, rows))
    assert message.startswith("1 of 1 answers, as that of row 2, are in no window as a whole")


def test_answers_that_the_tokenizer_drops_are_told_and_not_learned():
    row, task = one_row("tom\u200b lives", "\u200b"), ready_task()
    (feature,) = encoded(task, [row])
    assert feature.label.tolist() == [-100, -100]
    (message,) = remarks_of(task, [feature])
    assert message.startswith(
        "1 of 1 answers, as that of row 1, hold nothing that the tokenizer keeps"
    )


LONG_ANSWERS = (
    "3 of 8 answers, as that of row 3, have more tokens than `max_answer_length` (2), and will "
    "never be given as a whole. Raise it to 5."
)


def rows_with_long_answers():
    """Return eight rows, of which three have answers of three, four and five tokens."""
    context = "tom lives in paris . the film is good ."
    rows = [one_row(context, "paris") for _ in range(8)]
    for place, answer in ((2, "lives in paris"), (4, "tom lives in paris"), (7, context[:-18])):
        rows[place] = one_row(context, answer.strip())
    return rows


@pytest.mark.parametrize("rows_at_once", [1, 3, 8])
def test_answers_that_are_longer_than_any_given_are_told_once(rows_at_once):
    task, rows = ready_task(max_answer_length=2), rows_with_long_answers()
    remarks = task.new_remarks()
    for start in range(0, len(rows), rows_at_once):
        numbers = range(start, min(start + rows_at_once, len(rows)))
        some = [rows[number] for number in numbers]
        remarks.look_at(task.encode(some, numbers, tiny_tokenizer(), with_labels=True))
    assert remarks.messages(lambda number: f"row {number + 1}") == [LONG_ANSWERS]


@pytest.mark.parametrize("has_bad_row", [False, True])
def test_a_run_tells_of_long_answers_once_a_data_set(tmp_path, caplog, monkeypatch, has_bad_row):
    monkeypatch.setattr("abrazo.training.feeding.READ_AHEAD", 2)
    monkeypatch.setattr("abrazo.training.preflight._AT_ONCE", 2)
    rows = rows_with_long_answers()
    if has_bad_row:  # then those beside it are read one by one
        rows = [*rows, {**rows[0], "question": " "}]
    trainer = small_trainer(
        tmp_path,
        options={
            "task": ready_task(rows, max_answer_length=2),
            "model": small_model(HEAD),
            "train_dataset": rows,
            "eval_dataset": rows,
        },
        num_train_epochs=2,
    )
    with caplog.at_level(logging.WARNING, "abrazo"):
        if has_bad_row:
            with pytest.raises(TrainingError, match="row 9"):
                trainer.train()
        else:
            trainer.train()
    told = [record.getMessage() for record in caplog.records]
    assert [message for message in told if "max_answer_length" in message] == [LONG_ANSWERS] * 2


def test_an_evaluation_says_what_its_rows_show():
    rows, model = rows_with_long_answers(), small_model(HEAD)
    task = ready_task(max_answer_length=2)
    task.prepare_model(model)
    found = evaluate_rows(Engine(model), task, as_rows(rows), tiny_tokenizer())
    assert found.remarks == [LONG_ANSWERS]


def test_each_of_several_tasks_says_what_its_own_rows_show():
    parts = {"long": ready_task(max_answer_length=2), "any": ready_task()}
    both = MultiTask(parts)
    rows = [
        {"task": name, "row": row} for row in rows_with_long_answers() for name in ("any", "long")
    ]
    remarks = both.new_remarks()
    remarks.look_at(encoded(both, rows))
    (message,) = remarks.messages(lambda number: f"row {number // 2 + 1}")
    assert message == LONG_ANSWERS


def test_questions_that_are_too_long_are_cut_and_told(caplog):
    row = {**one_row("tom lives in paris", "paris"), "question": "where is " * 100}
    task = ready_task()
    with caplog.at_level(logging.WARNING, "abrazo"):
        (feature,) = encoded(task, [row])
    assert not caplog.text
    others = encoded(task, [one_row("tom lives in paris", "paris")] * 3)
    others = [dataclasses.replace(each, row=1 + number) for number, each in enumerate(others)]
    (message,) = remarks_of(task, [*others, dataclasses.replace(feature, row=9)])
    assert message.startswith("1 of 4 questions, as that of row 10, are longer than half")
    with caplog.at_level(logging.WARNING, "abrazo"):
        for _ in range(2):
            task.encode([row], [4], tiny_tokenizer(), with_labels=False)
    assert caplog.text.count("as that of row 5, are cut at their ends") == 1
    assert feature.dropped > 100
    assert len(feature.input_ids) <= 64
    assert feature.label[0] > 0


def test_half_a_surrogate_pair_is_named():
    with pytest.raises(DataError, match="row 2: question or context holds half a surrogate pair"):
        encoded(ready_task(), [one_row("tom", "tom"), one_row("tom \ud83d", "tom")])


# No answer and several answers -----------------------------------------------------------------


def test_no_answer_is_given_where_it_is_likelier_by_the_threshold():
    rows = [one_row("tom lives in paris", "paris")]
    base = ready_task(rows)
    features = encoded(base, rows)
    outputs = said(features, [features[0].label])
    outputs[0]["start_logits"][0] = outputs[0]["end_logits"][0] = 22  # 4 more than the answer
    for changes, expected in (
        ({}, "paris"),  # no row was without an answer
        ({"handle_impossible_answer": True}, ""),
        ({"handle_impossible_answer": True, "null_threshold": 3.9}, ""),
        ({"handle_impossible_answer": True, "null_threshold": 4.1}, "paris"),
    ):
        task = base.asking(changes)
        answer = task.answer(task.predict(features, outputs))
        assert answer["answer"] == expected
        if not expected:
            assert (answer["start"], answer["end"]) == (0, 0)
            assert 0.7 < answer["score"] < 1


def test_several_answers_differ_and_are_in_order(trained):
    ask = pipeline(NAME, trained.model)
    row = place_rows()[0]
    found = ask(row, top_k=6)
    assert len(found) == 6
    assert len({answer["answer"] for answer in found}) == 6
    assert [a["score"] for a in found] == sorted((a["score"] for a in found), reverse=True)
    assert found[0] == ask(row)
    every = ask(row, top_k=None)
    assert every[:6] == found
    assert "" in {answer["answer"] for answer in every}
    assert json.loads(json.dumps(found)) == found


# Ways to ask ------------------------------------------------------------------------------------


def rounded(answers):
    """Scores of a question alone and among others differ in their last digits."""
    return [{**answer, "score": round(answer["score"], 3)} for answer in answers]


def test_questions_can_be_asked_in_many_ways(trained):
    ask = pipeline(NAME, trained.model, precision="fp32")
    rows = place_rows()[:3]
    questions, contexts = ([row[name] for row in rows] for name in ("question", "context"))
    expected = rounded(ask(rows))
    first = {"question": questions[0], "context": contexts[0]}
    for answer in (ask(**first), ask(first), ask((questions[0], contexts[0]))):
        assert rounded([answer]) == expected[:1]
    for answers in (
        ask(question=questions, context=contexts),
        ask(list(zip(questions, contexts, strict=True))),
        ask(row for row in rows),
    ):
        assert rounded(answers) == expected
    shared = [expected[0], ask(question=questions[1], context=contexts[0])]
    assert rounded(ask(question=questions[:2], context=contexts[0])) == rounded(shared)


def test_settings_can_change_for_one_call(trained):
    ask = pipeline(NAME, trained.model)
    row = place_rows()[-1]
    assert ask(row)["answer"] == ""
    assert ask(row, handle_impossible_answer=False)["answer"]
    assert len(ask(row, handle_impossible_answer=False, max_answer_len=1)["answer"].split()) == 1
    assert ask(row)["answer"] == ""
    with pytest.raises(ConfigError, match="no field `max_answer`"):
        ask(row, max_answer=1)


@pytest.mark.parametrize(
    ("inputs", "given", "message"),
    [
        ((), {}, "Give `question` and `context`"),
        ((), {"question": "where?"}, "Give `question` and `context`"),
        (({},), {"question": "a", "context": "b"}, "Give `question` and `context`"),
        ((), {"question": ["a", "b"], "context": ["c"]}, "2 questions and 1 contexts"),
        (("where?",), {}, "A question with its context is wanted"),
        (([("where?",)],), {}, "A question with its context is wanted"),
        (({"question": "where?"},), {}, "there is no column `context`"),
        (({"question": "", "context": "tom"},), {}, "`question` is empty"),
        (([("a", "tom"), ("a", " ")],), {}, "row 2: `context` is empty"),
        (([("a", "tom"), ("a", 3)],), {}, "row 2: `context` must be a text"),
    ],
)
def test_what_cannot_be_asked_is_named(trained, inputs, given, message):
    with pytest.raises(DataError, match=message):
        pipeline(NAME, trained.model)(*inputs, **given)


def test_a_count_of_answers_below_one_is_refused(trained):
    with pytest.raises(ConfigError, match="`top_k` must be at least 1"):
        pipeline(NAME, trained.model)(("a", "b"), top_k=0)


# Rows that a user has tokenised -----------------------------------------------------------------


def tokenised_rows():
    rows = []
    for feature in encoded(ready_task(), place_rows()):
        start, end = feature.label.tolist()
        rows.append(
            {
                "input_ids": feature.input_ids.tolist(),
                "token_type_ids": feature.token_type_ids.tolist(),
                "start_positions": start,
                "end_positions": end,
            }
        )
    return rows


def test_tokenised_rows_with_positions_are_evaluated_as_texts_are(trained, tmp_path):
    rows = tokenised_rows()
    found = trained.evaluate(rows)
    assert found["eval_exact_match"] == found["eval_no_answer_accuracy"] == 1.0
    assert found["eval_loss"] == pytest.approx(trained.evaluate()["eval_loss"], rel=1e-3)
    assert list(trained.predict(rows).predictions) == [
        " ".join(map(str, range(row["start_positions"], row["end_positions"] + 1)))
        if row["start_positions"]
        else ""
        for row in rows
    ]


def test_tokenised_rows_with_positions_are_learned(tmp_path):
    rows = tokenised_rows()
    trainer = small_trainer(
        tmp_path,
        options={
            "model": small_model(HEAD, dropout=0.0),
            "train_dataset": rows,
            "eval_dataset": rows,
        },
        max_steps=10,
        learning_rate=1e-2,
        eval_strategy="no",
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.9 * before


def test_answers_of_a_row_of_tokens_are_tokens():
    task = ready_task()
    (feature,) = encoded(task, [one_row("tom lives in paris", "in paris")])
    feature = dataclasses.replace(feature, window=None, source=None)
    found = task.answer(task.predict([feature], said([feature], [(6, 7)])))
    assert (found["start_token"], found["end_token"]) == (6, 7)
    assert task.row_label([feature]) == ("6 7",)
