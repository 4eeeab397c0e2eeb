import subprocess
import sys
import warnings

import pytest

import abrazo
from abrazo.cli import main as cli
from abrazo.errors import DataError

ABRAZO = [sys.executable, "-m", "abrazo.cli.main"]


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes the command `doctor` raise an error."""

    def fail_with(error: BaseException) -> None:
        def doctor() -> int:
            raise error

        monkeypatch.setattr("abrazo.cli.doctor.doctor", doctor)

    return fail_with


def test_help_lists_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"{name} " in out and summary in out for name, (_, summary) in cli.COMMANDS.items())


def test_without_words_there_is_help(run):
    assert run()[:2] == run("--help")[:2]


def test_the_version_is_told(run):
    assert run("--version") == (0, f"{abrazo.__version__}\n", "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_tells_its_own_help(name, run):
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: abrazo {name}" in out


def test_an_unknown_command_is_refused_with_the_nearest(run):
    assert run("evaluatte", "x") == (
        2,
        "",
        "Error: There is no command `evaluatte`. Did you mean `evaluate`?\n",
    )


def test_an_error_is_one_message_without_traceback(run, failing):
    failing(DataError("a.csv, row 3: the label is missing."))
    assert run("doctor") == (2, "", "Error: a.csv, row 3: the label is missing.\n")


@pytest.mark.parametrize("place", ["option", "environment"])
def test_debug_shows_the_traceback(place, run, failing, monkeypatch):
    failing(DataError("a.csv, row 3: the label is missing."))
    if place == "environment":
        monkeypatch.setenv("ABRAZO_DEBUG", "1")
    with pytest.raises(DataError):
        run("doctor", *(["--debug"] if place == "option" else []))


def test_a_fault_of_the_program_is_not_hidden(run, failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("doctor")


def test_ctrl_c_ends_quietly(run, failing):
    failing(KeyboardInterrupt())
    assert run("doctor") == (130, "", "Interrupted.\n")


def test_the_code_of_a_command_is_the_code_of_the_program(run, monkeypatch):
    monkeypatch.setattr("abrazo.cli.doctor.doctor", lambda: 1)
    assert run("doctor")[0] == 1


def test_warnings_and_remarks_are_plain_lines(run, monkeypatch):
    def doctor() -> None:
        import logging

        logging.getLogger("abrazo").info("a remark")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)

    monkeypatch.setattr("abrazo.cli.doctor.doctor", doctor)
    assert run("doctor") == (0, "", "a remark\nWarning: careful\n")


def test_a_reader_that_goes_away_is_no_error(model, tmp_path):
    (tmp_path / "many.txt").write_text("a fine film\n" * 3_000)
    code = f"{' '.join(ABRAZO)} predict {model} many.txt; echo code $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({code}) | head -n 1"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == "code 141\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from abrazo.cli.main import main; main(['--help']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"torch", "numpy", "pyarrow", "tokenizers", "jinja2", "matplotlib"}
    assert not heavy & set(done.stderr.split())
