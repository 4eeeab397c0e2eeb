"""`abrazo generate`, `translate` and `summarize`: prompts and texts in, what is written out."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import abrazo as az
from abrazo.generation.config import GenerationConfig
from helpers.files import write_lines
from helpers.tiny import scramble, tiny_folder
from helpers.writers import tiny_bart, tiny_llama

TEXTS = ["a good film", "anna lives in paris", "我住在北京"]
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('The system speaks first') }}{% endif %}"
    "{{ {'system': 'it', 'user': 'you', 'assistant': 'i'}[m.role] }} {{ m.content }} . "
    "{% endfor %}{% if add_generation_prompt %}i {% endif %}"
)
SHORT = ("--max-new-tokens", "4", "--precision", "fp32")
KEYS = {"generate": "generated_text", "translate": "translation_text", "summarize": "summary_text"}
TASKS = {"generate": "text-generation", "translate": "translation", "summarize": "summarization"}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Return folders of tiny models by what they are for."""
    place = tmp_path_factory.mktemp("models")
    chat = tiny_llama()
    chat.tokenizer.chat_template = TEMPLATE
    bart = tiny_bart()
    scramble(bart, 1, std=0.3)  # which has something to say
    for name, model in (("llama", tiny_llama()), ("chat", chat), ("bart", bart)):
        model.save_pretrained(place / name)
    tiny_folder(place / "bert", labels=["bad", "good"])
    return {name: str(place / name) for name in ("llama", "chat", "bart", "bert")}


@pytest.fixture(params=KEYS)
def command(request) -> str:
    return request.param


@pytest.fixture
def model(models, command) -> str:
    return models["llama" if command == "generate" else "bart"]


def expected(command: str, model: str, inputs: Any, **options: Any) -> list[str]:
    """Return what a pipeline writes."""
    settings = {"return_full_text": False} if command == "generate" else {}
    write = az.pipeline(TASKS[command], model, precision="fp32", **settings)
    answers = write(inputs, max_new_tokens=4, **options)
    return [answer[KEYS[command]] for answer in answers]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv"])
def test_a_file_gets_the_texts_of_a_pipeline(suffix, command, model, run, tmp_path):
    file = tmp_path / f"given.{suffix}"
    column = "text" if command != "translate" else "source"
    if suffix == "txt":
        file.write_text("".join(f"{text}\n" for text in TEXTS))
    elif suffix == "jsonl":
        write_lines(file, [{"id": n, column: text} for n, text in enumerate(TEXTS)])
    else:
        file.write_text(f"id,{column}\n" + "".join(f"{n},{t}\n" for n, t in enumerate(TEXTS)))
    code, out, err = run(command, model, file, "-o", f"written.{suffix}", *SHORT)
    assert (code, out) == (0, ""), err
    wanted = expected(command, model, TEXTS)
    answered = Path(f"written.{suffix}").read_text().splitlines()
    if suffix == "txt":
        assert answered == wanted
        return
    rows = lines_of("\n".join(answered)) if suffix == "jsonl" else [*csv.DictReader(answered)]
    assert [row[f"predicted_{KEYS[command]}"] for row in rows] == wanted
    assert [row[column] for row in rows] == TEXTS
    assert [str(row["id"]) for row in rows] == ["0", "1", "2"]


def test_streams_are_written_to_as_they_come(command, model, run, stdin):
    stdin("".join(f"{text}\n" for text in TEXTS).encode())
    words = ("--input-format", "text", "--output-format", "text")
    code, out, _ = run(command, model, "-", *words, *SHORT)
    assert (code, out.splitlines()) == (0, expected(command, model, TEXTS))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--num-beams", "3", "--length-penalty", "2"], {"num_beams": 3, "length_penalty": 2.0}),
        (
            ["--do-sample", "--seed", "4", "--top-k", "7"],
            {"do_sample": True, "seed": 4, "top_k": 7},
        ),
        (["--no-repeat-ngram-size", "1"], {"no_repeat_ngram_size": 1}),
        (["--suppress-tokens", "3", "7"], {"suppress_tokens": [3, 7]}),
    ],
    ids=["beams", "draws", "repeats", "suppressed"],
)
def test_options_are_those_of_generate(words, options, command, model, run, tmp_path):
    (tmp_path / "r.txt").write_text("a good film\n")
    _, out, err = run(command, model, "r.txt", "--output-format", "text", *words, *SHORT)
    assert out.splitlines() == expected(command, model, ["a good film"], **options), err


def test_every_option_of_generate_is_there_but_those_that_words_cannot_say(command, run):
    shown = run(command, "--help")[1]
    there = {
        name for name in GenerationConfig().to_dict() if f"--{name.replace('_', '-')} " in shown
    }
    assert set(GenerationConfig().to_dict()) - there == {"bad_words_ids", "extra"}


def test_several_texts_to_a_row_are_a_list(command, model, run, tmp_path):
    write_lines(tmp_path / "r.jsonl", [{"text": "a film", "source": "a film"}])
    words = ("--num-beams", "3", "--num-return-sequences", "2")
    (row,) = lines_of(run(command, model, "r.jsonl", *words, *SHORT)[1])
    assert [list(answer) for answer in row["predicted"]] == [[KEYS[command]]] * 2


@pytest.mark.parametrize("command", ["translate", "summarize"])
def test_empty_lines_of_a_text_stay(command, models, run, tmp_path, stdin):
    (tmp_path / "book.txt").write_text("a good film\n\n  \nanna lives in paris\n\n")
    code, _, err = run(command, models["bart"], "book.txt", "-o", "out.txt", *SHORT)
    lines = Path("out.txt").read_text().splitlines()
    first, last = expected(command, models["bart"], [TEXTS[0], TEXTS[1]])
    assert (code, lines) == (0, [first, "", "", last, ""])
    assert "5 rows answered" in err
    assert "3 empty lines stay empty" in err
    stdin(b"\n\na good film\n")
    words = ("--input-format", "text", "--output-format", "text", *SHORT)
    assert run(command, models["bart"], "-", *words)[1] == f"\n\n{first}\n"


@pytest.mark.parametrize("column", ["remark", "source"])
def test_the_column_of_what_is_read_can_be_named(column, models, run, tmp_path):
    write_lines(tmp_path / "r.jsonl", [{column: "a good film"}])
    words = () if column == "source" else ("--source-column", column)
    code, out, _ = run("translate", models["bart"], "r.jsonl", *words, *SHORT)
    assert code == 0
    wanted = expected("translate", models["bart"], ["a good film"])
    assert lines_of(out)[0]["predicted_translation_text"] == wanted[0]


def test_a_prefix_is_put_before_each_text(models, run, tmp_path):
    (tmp_path / "r.txt").write_text("good film\n")
    words = ("--prefix", "a ", "--output-format", "text", *SHORT)
    out = run("summarize", models["bart"], "r.txt", *words)[1]
    assert out.splitlines() == expected("summarize", models["bart"], ["a good film"])


def test_long_texts_are_translated_piece_by_piece(models, run, tmp_path):
    (tmp_path / "r.txt").write_text("the film is good. " * 30 + "\n")
    code, out, _ = run("translate", models["bart"], "r.txt", "--output-format", "text", *SHORT)
    assert (code, len(out.split()) > 8) == (0, True)


# One prompt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_one_prompt_is_written_to_on_the_terminal(name, models, run):
    words = ("generate", models[name], "--prompt", "a good film", *SHORT)
    command = "generate" if name == "llama" else "translate"
    (wanted,) = expected(command, models[name], ["a good film"])
    assert len(wanted) > 3
    assert run(*words)[:2] == (0, f"{wanted}\n")
    if name == "llama":
        assert run(*words, "--return-full-text")[1] == f"a good film{wanted}\n"


def test_a_model_that_guesses_masked_words_fills_masks(run, tmp_path):
    model = str(tiny_folder(tmp_path / "gaps", "masked_lm"))
    (wanted,) = expected("generate", model, ["a good film"])
    assert len(wanted) > 3
    for words in (("generate", model), ("generate", model, "--task", "text-generation")):
        code, out, err = run(*words, "--prompt", "a good film", *SHORT)
        assert (code, out, err) == (0, f"{wanted}\n", "")
    file = write_lines(tmp_path / "r.jsonl", [{"text": "a good film"}])
    code, _, err = run("evaluate", model, file, "--task", "text-generation")
    assert (code, "it cannot be evaluated on" in err) == (2, True)


def test_pieces_are_shown_as_they_are_written(models, run, monkeypatch):
    shown: list[str] = []

    def stream(*args, **options):
        for piece in ("one", " two"):
            shown.append(piece)
            yield piece

    monkeypatch.setattr("abrazo.inference.writing.stream_ids", stream)
    written: list[str] = []
    monkeypatch.setattr("sys.stdout.write", lambda text: written.append(text) or len(text))
    run("generate", models["llama"], "--prompt", "a film")
    assert shown == ["one", " two"]
    assert written[:3] == ["", "one", " two"]


def test_several_texts_to_a_prompt_are_lines(models, run):
    words = ("--num-beams", "3", "--num-return-sequences", "2", *SHORT)
    _, out, _ = run("generate", models["llama"], "--prompt", "a film", *words)
    write = az.pipeline("text-generation", models["llama"], precision="fp32")
    write = write.writing(num_beams=3, num_return_sequences=2, max_new_tokens=4)
    write.task.settings = write.task.settings.replace(return_full_text=False)
    assert out.splitlines() == [answer["generated_text"] for answer in write("a film")]


# Conversations -----------------------------------------------------------------------------------


def chats(model: str, *conversations: list[dict[str, str]]) -> list[str]:
    return expected("generate", model, [list(messages) for messages in conversations])


def test_prompts_can_be_what_a_user_says(models, run, tmp_path):
    chat = models["chat"]
    said = [{"role": "user", "content": text} for text in TEXTS]
    told = {"role": "system", "content": "good"}
    (tmp_path / "r.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    words = ("generate", chat, "r.txt", "--output-format", "text", *SHORT)
    assert run(*words, "--chat")[1].splitlines() == chats(chat, *([one] for one in said))
    answers = run(*words, "--system", "good")[1].splitlines()
    assert answers == chats(chat, *([told, one] for one in said))
    assert answers != run(*words)[1].splitlines()
    for options in ((), ("--num-beams", "1", "--return-full-text")):
        one = run("generate", chat, "--prompt", TEXTS[0], "--chat", *options, *SHORT)[1]
        assert one.endswith(chats(chat, [said[0]])[0] + "\n")


def test_rows_with_messages_are_conversations(models, run, tmp_path):
    chat = models["chat"]
    turns = [
        {"role": "user", "content": "the film"},
        {"role": "assistant", "content": "is good"},
        {"role": "user", "content": "when ?"},
    ]
    write_lines(tmp_path / "r.jsonl", [{"messages": turns}, {"messages": turns[:1]}])
    told = [{"role": "system", "content": "good"}]
    for words, before in ((), []), (("--system", "good"), told):
        code, out, err = run("generate", chat, "r.jsonl", *words, *SHORT)
        assert code == 0, err
        rows = lines_of(out)
        assert rows[0]["messages"] == turns
        assert [row["predicted_generated_text"] for row in rows] == chats(
            chat, [*before, *turns], [*before, turns[0]]
        )
    full = lines_of(run("generate", chat, "r.jsonl", "--return-full-text", *SHORT)[1])
    assert full[1]["predicted_generated_text"][0] == turns[0]
    assert full[1]["predicted_generated_text"][-1]["role"] == "assistant"


# What is refused ---------------------------------------------------------------------------------

LONG = "the film is good and the plot was bad " * 9
REFUSED: dict[str, tuple[list[str], str]] = {
    "no input": (["llama"], "Give either a file (or `-`), or one prompt by `--prompt`."),
    "two inputs": (["llama", "r.txt", "--prompt", "a"], "Give either a file (or `-`), or one"),
    "a prompt for a file": (["llama", "once upon a time"], "A prompt is given by `--prompt`."),
    "a missing file": (["llama", "absent.txt"], "absent.txt"),
    "a file for a prompt": (["llama", "--prompt", "a", "-o", "x.txt"], "so it takes no file"),
    "no beams": (["llama", "r.txt", "--num-beams", "0"], "`--num-beams` must be at least 1"),
    "heat without draws": (
        ["llama", "r.txt", "--temperature", "0.5"],
        "`--temperature 0.5` needs `--do-sample`",
    ),
    "one beam": (
        ["llama", "r.txt", "--length-penalty", "2"],
        "`--length-penalty 2.0` needs `--num-beams` above 1",
    ),
    "more texts than beams": (
        ["llama", "r.txt", "--num-beams", "2", "--num-return-sequences", "3"],
        "`--num-return-sequences` must be at most `--num-beams` (2)",
    ),
    "two lengths": (
        ["llama", "r.txt", "--max-length", "9", "--max-new-tokens", "3"],
        "`--max-new-tokens` and `--max-length` say the same",
    ),
    "a misspelt option": (["llama", "r.txt", "--max-new-token", "3"], "--max-new-tokens"),
    "too much to write": (
        ["llama", "r.txt", "--max-new-tokens", "63"],
        "r.txt, row 1: the prompt has 4 tokens and `--max-new-tokens 63` more are asked for",
    ),
    "too long a prompt": (["llama", "--prompt", LONG], "row 1: the prompt has"),
    "too long a prompt for a length": (
        ["llama", "r.txt", "--max-length", "3"],
        "r.txt, row 1: the prompt has 4 tokens, so `--max-length 3` leaves no room",
    ),
    "no template": (["llama", "r.txt", "--chat"], "This tokenizer has no chat template"),
    "chat with an encoder": (["bart", "r.txt", "--chat"], "`--chat` is for models that go on"),
    "prompts of an encoder": (
        ["bart", "r.txt", "--return-full-text"],
        "`--return-full-text` is for models that go on from prompts",
    ),
    "a model that classifies": (["bert", "r.txt"], "'text-classification', which writes no texts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_to_is_refused(case, models, run, tmp_path):
    (model, *words), message = REFUSED[case]
    (tmp_path / "r.txt").write_text("a good film\n")
    code, out, err = run("generate", models[model], *words)
    assert (code, out) == (2, "")
    assert message in err


def test_languages_are_refused_where_there_are_none(models, run, tmp_path):
    (tmp_path / "r.txt").write_text("a good film\n")
    code, _, err = run("translate", models["bart"], "r.txt", "--tgt-lang", "de")
    assert (code, "no languages to choose from, so none can be 'de'" in err) == (2, True)
    code, _, err = run("translate", models["llama"], "r.txt")
    assert (code, "no head 'seq2seq_lm'" in err) == (2, True)


def test_a_template_that_refuses_names_the_row(models, run, tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
    write_lines(tmp_path / "r.jsonl", [{"messages": turns[:1]}, {"messages": turns}])
    code, _, err = run("generate", models["chat"], "r.jsonl")
    assert code == 2
    assert "r.jsonl, row 2: The chat template cannot take these messages: The system" in err


# The other commands with models that write -------------------------------------------------------


def test_predict_answers_with_a_model_that_writes(models, run, tmp_path):
    (tmp_path / "r.txt").write_text("a good film\n")
    code, out, _ = run("predict", models["bart"], "r.txt", "--output-format", "text")
    write = az.pipeline("text2text-generation", models["bart"])
    assert (code, out) == (0, write("a good film")["generated_text"] + "\n")
    code, _, err = run("predict", models["bart"], "r.txt", "--top-k", "2")
    assert (code, "`abrazo generate` with `--num-return-sequences`" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "rows", "figures"),
    [
        ("llama", [{"text": text} for text in TEXTS], {"perplexity", "token_accuracy"}),
        (
            "bart",
            [{"source": text, "references": ["the film", text]} for text in TEXTS],
            {"rouge1", "chrf"},
        ),
        ("chat", [{"prompt": "a film", "completion": " is good"}], {"perplexity"}),
    ],
)
def test_evaluate_measures_a_model_that_writes(name, rows, figures, models, run, tmp_path):
    file = write_lines(tmp_path / "r.jsonl", rows)
    words = ("--prompt-column", "prompt", "--completion-column", "completion")
    code, out, err = run(
        "evaluate", models[name], file, "--json", *(words if name == "chat" else ())
    )
    assert code == 0, err
    assert figures <= json.loads(out).keys()
    code, out, _ = run("evaluate", models[name], file, *(words if name == "chat" else ()))
    assert (code, "perplexity" in out or "rouge1" in out) == (0, True)
    assert Path("evaluation/report.html").exists()


def test_evaluate_compares_with_the_column_that_is_named(models, run, tmp_path):
    rows = [{"source": text, "target": "the film", "mine": [text]} for text in TEXTS]
    file = write_lines(tmp_path / "r.jsonl", rows)
    answers = az.pipeline("text2text-generation", models["bart"])(TEXTS)
    for row, answer in zip(rows, answers, strict=True):
        row["mine"].append(answer["generated_text"])
    write_lines(tmp_path / "r.jsonl", rows)
    _, out, _ = run("evaluate", models["bart"], file, "--json", "--references-column", "mine")
    assert json.loads(out)["rouge1"] == 1.0
    assert json.loads(run("evaluate", models["bart"], file, "--json")[1])["rouge1"] < 1.0
    code, _, err = run("evaluate", models["bart"], file, "--references-column", "mien")
    assert (code, "There is no column `mien`" in err, "`mine`?" in err) == (2, True, True)
