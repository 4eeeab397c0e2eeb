"""Bad input to models that write: each mistake is told with its row and what to do."""

from pathlib import Path
from typing import Any

import pytest

import abrazo as az
from abrazo.data.rows import as_rows
from abrazo.errors import AbrazoError, CheckpointError, TokenizerError
from abrazo.inference.evaluation import evaluate_rows
from abrazo.inference.generating import engine_for
from abrazo.models.base import PretrainedModel
from abrazo.tasks.auto import learn_task
from helpers.training import small_arguments
from helpers.writers import tiny_bart, tiny_llama
from tokenization.piece_samples import FILES, write_family, write_marian

NAN, HALF = float("nan"), "\ud800"
LONG = "the film is good and the plot was bad " * 9
TEMPLATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{{ {'user': 'you', 'assistant': 'i'}[m.role] }} {{ m.content }} [SEP] {% endfor %}"
    "{% if add_generation_prompt %}i {% endif %}"
)
USER = {"role": "user", "content": "the film"}
SAID = {"role": "assistant", "content": "is good"}


def chatting() -> PretrainedModel:
    model = tiny_llama()
    model.tokenizer.chat_template = TEMPLATE
    return model


def train(task: str, rows: list[Any], model: PretrainedModel, folder: Path, **settings: Any) -> Any:
    """Train a tiny model for one step."""
    learned = learn_task(task, as_rows(rows), settings)
    args = small_arguments(folder, max_steps=1, save_strategy="no")
    return az.Trainer(model, args, rows, task=learned).train()


# Conversations -----------------------------------------------------------------------------------

CONVERSATIONS: dict[str, tuple[Any, str]] = {
    "nothing": (None, "`messages` must be a list of messages"),
    "a text": ("hello", "`messages` must be a list of messages"),
    "a number": (7, "`messages` must be a list of messages"),
    "no message": ([], "`messages` must be a list of messages"),
    "one message": ({**USER}, "`messages` must be a list of messages"),
    "a conversation in another": ([[USER]], "message 1 of `messages`: it must be a mapping"),
    "a text for a message": ([USER, "no"], "message 2 of `messages`: it must be a mapping"),
    "None for a message": ([USER, None], "message 2 of `messages`: it must be a mapping"),
    "no role": ([{"content": "a"}], "it has no `role`, only `content`"),
    "an empty role": ([{**USER, "role": None}], "it has no `role`, only `content`"),
    "an unknown role": ([{**USER, "role": "usr"}], "its role 'usr' is not .* Did you mean `user`"),
    "a number for a role": ([{**USER, "role": 3}], "its role 3 is not"),
    "other names": ([{"from": "user", "value": "a"}], "it has no `role`, only `from`, `value`"),
    "no content": ([{"role": "user"}], "its `content` must be a text, but is None"),
    "a number for content": ([{**USER, "content": 3}], "its `content` must be a text, but is 3"),
    "parts that are none": ([{**USER, "content": ["a"]}], "its `content` must be a text"),
    "half a character": ([{**USER, "content": HALF}], "`messages` holds half a surrogate pair"),
    "a wrong order": ([USER, USER], "cannot take these messages: Roles must alternate"),
}


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_a_conversation_that_cannot_be_gone_on_with_is_named(case: str) -> None:
    messages, problem = CONVERSATIONS[case]
    go_on = az.pipeline("text-generation", chatting(), precision="fp32")
    with pytest.raises(AbrazoError, match=f"^row 2[:,].*{problem}"):
        go_on([{"messages": [USER]}, {"messages": messages}])


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_a_conversation_that_cannot_be_learned_is_named(case: str, tmp_path: Path) -> None:
    messages, problem = CONVERSATIONS[case]
    rows = [{"messages": [USER, SAID]}, {"messages": messages}]
    with pytest.raises(AbrazoError, match=f"row 2[:,].*{problem}"):
        train("text-generation", rows, chatting(), tmp_path / "run")


def test_good_conversations_are_learned_and_gone_on_with(tmp_path: Path) -> None:
    model = chatting()
    train("text-generation", [{"messages": [USER, SAID]}] * 4, model, tmp_path / "run")
    answer = az.pipeline("text-generation", model, precision="fp32")([USER], max_new_tokens=3)
    assert answer["generated_text"][-1]["role"] == "assistant"


def test_a_role_that_the_template_names_is_known(tmp_path: Path) -> None:
    model = tiny_llama()
    model.tokenizer.chat_template = TEMPLATE.replace("'user'", "'human'")
    go_on = az.pipeline("text-generation", model, precision="fp32")
    assert go_on([{**USER, "role": "human"}], max_new_tokens=2)["generated_text"]


def test_without_a_template_the_remedy_is_told(tmp_path: Path) -> None:
    rows = [{"messages": [USER, SAID]}]
    with pytest.raises(AbrazoError, match=r"Set `tokenizer\.chat_template`"):
        az.pipeline("text-generation", tiny_llama())(rows)
    with pytest.raises(AbrazoError, match=r"Set `tokenizer\.chat_template`"):
        train("text-generation", rows, tiny_llama(), tmp_path / "run")


# Rows of texts -----------------------------------------------------------------------------------

NO_TEXT = [None, NAN, 7, b"bytes", [], {}, ["a", None], HALF]
EMPTY = ["", " \n"]
GOOD: dict[str, dict[str, Any]] = {
    "translation": {"source": "a good film", "target": "很好"},
    "summarization": {"text": "a good film", "summary": "good"},
    "text2text-generation": {"input": "a good film", "output": "good"},
    "text-generation": {"text": "the film is good."},
    "answers": {"prompt": "the film ", "completion": "is good"},
}
ROWS = {
    ("translation", "source"): [*NO_TEXT, *EMPTY],
    ("translation", "target"): [*NO_TEXT, *EMPTY],
    ("summarization", "text"): [*NO_TEXT, *EMPTY],
    ("summarization", "summary"): [*NO_TEXT, *EMPTY],
    ("text2text-generation", "input"): [*NO_TEXT, *EMPTY],
    ("text2text-generation", "output"): [*NO_TEXT, *EMPTY],
    ("text-generation", "text"): [*NO_TEXT, *EMPTY],
    ("answers", "prompt"): NO_TEXT,
    ("answers", "completion"): [*NO_TEXT, *EMPTY],
}
LEFT_OUT = object()


@pytest.mark.parametrize("name", GOOD)
def test_a_bad_row_is_named_before_the_first_step(name: str, tmp_path: Path) -> None:
    task = "text-generation" if name == "answers" else name
    model = tiny_llama() if task == "text-generation" else tiny_bart()
    for (case, column), values in ROWS.items():
        for bad in [*values, LEFT_OUT] if case == name else []:
            row = {key: value for key, value in GOOD[name].items() if key != column}
            rows = [GOOD[name], row if bad is LEFT_OUT else {**row, column: bad}]
            with pytest.raises(AbrazoError, match=rf"row 2: .*`{column}`"):
                train(task, rows, model, tmp_path / "run")


@pytest.mark.parametrize("name", GOOD)
def test_a_bad_row_is_named_in_evaluation(name: str) -> None:
    task = learn_task("text-generation" if name == "answers" else name, as_rows([GOOD[name]]))
    model = tiny_llama() if task.name == "text-generation" else tiny_bart()
    task.prepare_model(model)
    engine = engine_for(task, model, model.tokenizer, precision="fp32")
    for (case, column), values in ROWS.items():
        for bad in values if case == name else []:
            rows = as_rows([GOOD[name], {**GOOD[name], column: bad}])
            with pytest.raises(AbrazoError, match=rf"row 2: `{column}`"):
                evaluate_rows(engine, task, rows, model.tokenizer)


@pytest.mark.parametrize("name", ["translation", "summarization", "text-generation"])
@pytest.mark.parametrize("bad", [None, 7, NAN, b"a", ["a"], ("a", "b"), {}, HALF, {"text": 3}])
def test_a_pipeline_names_what_it_cannot_read(name: str, bad: Any) -> None:
    model = tiny_llama() if name == "text-generation" else tiny_bart()
    with pytest.raises(AbrazoError, match=r"^row 2: "):
        az.pipeline(name, model, precision="fp32")(["a film", bad], max_new_tokens=2)


@pytest.mark.parametrize("name", GOOD)
def test_no_rows_are_told(name: str, tmp_path: Path) -> None:
    task = "text-generation" if name == "answers" else name
    model = tiny_llama() if task == "text-generation" else tiny_bart()
    with pytest.raises(AbrazoError, match="The data has no rows"):
        train(task, [], model, tmp_path / "run")
    assert az.pipeline(task, model)([]) == []
    assert list(az.pipeline(task, model)(iter(()))) == []


# Settings, options and lengths -------------------------------------------------------------------

SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no beams": ("translation", {"generation": {"num_beams": 0}}, "`num_beams` must be at least 1"),
    "options that are none": ("translation", {"generation": 3}, "`generation` must be of type"),
    "an unknown option": ("translation", {"generation": {"beams": 2}}, "has no field `beams`"),
    "a short target": ("translation", {"max_target_length": 1}, "must be at least 2, but is 1"),
    "a long target": ("translation", {"max_target_length": 99}, "must be at most 64"),
    "no length": ("translation", {"max_length": 0}, "`max_length` must be at least"),
    "a long prefix": ("translation", {"prefix": LONG}, "`prefix` leaves no room for a text"),
    "no prefix": ("translation", {"prefix": None}, "`prefix` must be of type str"),
    "a language": ("translation", {"target_language": "de"}, "no languages to choose from"),
    "one token": ("text-generation", {"max_length": 1}, "`max_length` must be at least 2"),
}
OPTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no beams": ("translation", {"num_beams": 0}, "`num_beams` must be at least 1"),
    "heat": ("translation", {"do_sample": False, "temperature": 0.7}, "needs `do_sample=True`"),
    "one beam": (
        "translation",
        {"num_beams": 1, "early_stopping": True},
        "needs `num_beams` above",
    ),
    "two lengths": ("translation", {"max_length": 9, "max_new_tokens": 3}, "say the same in two"),
    "many texts": (
        "translation",
        {"num_beams": 2, "num_return_sequences": 3},
        r"at most `num_beams` \(2\)",
    ),
    "too many words": ("translation", {"max_new_tokens": 64}, "must be at most 63"),
    "too long": ("translation", {"max_length": 65}, "must be at most 64"),
    "too many words for a prompt": (
        "text-generation",
        {"max_new_tokens": 62},
        "^row 2: the prompt has 4 tokens and `max_new_tokens=62` more are asked for",
    ),
    "too short for a prompt": (
        "text-generation",
        {"max_length": 3},
        "^row 2: the prompt has 4 tokens, so `max_length=3` leaves no room",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be_are_refused(case: str) -> None:
    task, settings, problem = SETTINGS[case]
    model = tiny_llama() if task == "text-generation" else tiny_bart()
    with pytest.raises(AbrazoError, match=problem):
        az.pipeline(task, model, precision="fp32", **settings)("a film " * 40)


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_are_refused(case: str) -> None:
    task, options, problem = OPTIONS[case]
    model = tiny_llama() if task == "text-generation" else tiny_bart()
    with pytest.raises(AbrazoError, match=problem):
        az.pipeline(task, model, precision="fp32")(["film", "a good film"], **options)


def test_a_prompt_longer_than_the_model_is_named() -> None:
    go_on = az.pipeline("text-generation", chatting(), precision="fp32")
    for prompt in (LONG, {"messages": [{**USER, "content": LONG}]}):
        with pytest.raises(AbrazoError, match=r"^row 2: the prompt has \d+ tokens, and the model"):
            go_on(["a film", prompt])


def test_of_a_prompt_longer_than_the_model_is_told_what_is_not_read(tmp_path: Path) -> None:
    model = tiny_llama(positions=16)
    rows = [{"prompt": "the film " * 20, "completion": "is good"}]
    task = learn_task("text-generation", as_rows(rows))
    task.prepare_model(model)
    (feature,) = task.encode(rows, [0], model.tokenizer, with_labels=True)
    assert feature.dropped == 32
    assert (feature.label != -100).sum() == 3  # the answer and the end
    result = evaluate_rows(
        engine_for(task, model, model.tokenizer), task, as_rows(rows), model.tokenizer
    )
    assert result.num_truncated == 1


@pytest.mark.parametrize("num_words", range(1, 40))
def test_nothing_of_a_text_is_lost_where_it_is_cut(num_words: int) -> None:
    model = tiny_llama(positions=8)
    rows = [{"text": "film " * num_words}]
    task = learn_task("text-generation", as_rows(rows))
    task.prepare_model(model)
    features = task.encode(rows, [0], model.tokenizer, with_labels=True)
    whole = model.tokenizer(rows[0]["text"])["input_ids"]
    assert features[-1].input_ids.tolist()[-2:] == whole[-2:]
    assert sum(len(feature.input_ids) for feature in features) - len(whole) in (0, 1)
    assert all(2 <= len(feature.input_ids) <= 8 for feature in features)


@pytest.mark.parametrize(
    ("rows", "settings", "problem"),
    [
        ([{"prompt": "a"}], {}, r"no column of answers to learn.*`completion_column=\.\.\.`"),
        ([{"x": "a"}], {"prompt_column": "x"}, "go together; give both"),
        ([{"x": "a"}], {}, "No column for the text"),
        ([{"text": "a"}], {"text_column": "txt"}, "Did you mean `text`"),
    ],
)
def test_columns_that_are_not_there_are_told(
    rows: list[dict[str, str]], settings: dict[str, str], problem: str
) -> None:
    with pytest.raises(AbrazoError, match=problem):
        learn_task("text-generation", as_rows(rows), settings)


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["T5Tokenizer", "MBartTokenizer", "LlamaTokenizer"])
def test_a_missing_sentencepiece_file_is_told(family: str, tmp_path: Path) -> None:
    write_family(tmp_path, family)
    (tmp_path / FILES[family][0]).unlink()
    with pytest.raises((TokenizerError, CheckpointError), match=str(tmp_path)):
        az.AutoTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_a_missing_file_of_marian_is_named(name: str, tmp_path: Path) -> None:
    write_marian(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises((TokenizerError, CheckpointError), match=name):
        az.AutoTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x00" * 99, b"not a model at all"])
def test_a_damaged_sentencepiece_file_is_told(data: bytes, tmp_path: Path) -> None:
    write_family(tmp_path, "T5Tokenizer")
    (tmp_path / FILES["T5Tokenizer"][0]).write_bytes(data)
    with pytest.raises((TokenizerError, CheckpointError), match=r"spiece\.model"):
        az.AutoTokenizer.from_folder(tmp_path)
