"""Runs from a file to a file that are broken off go on, and end as if they never had been."""

import contextlib
import fcntl
import json
import os
from pathlib import Path

import pytest

from abrazo.cli import answering, progress
from abrazo.errors import DataError
from helpers.files import write_lines
from helpers.tiny import tiny_folder, tiny_rows
from helpers.writers import tiny_llama

PART = 3
KEPT = Path("answers.jsonl.progress")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(answering, "_ROWS_OF_A_PART", PART)
    monkeypatch.setattr(answering, "_TEXTS_OF_A_PART", {"cpu": PART})


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> str:
    """Return the folder of a tiny decoder."""
    folder = tmp_path_factory.mktemp("models") / "llama"
    tiny_llama().save_pretrained(folder)
    return str(folder)


@contextlib.contextmanager
def interrupted(monkeypatch, after: int):
    """Break off a run once so many parts are kept."""
    add = progress.Progress.add

    def add_or_stop(self, answers):
        if self.num_rows >= after * PART:
            raise KeyboardInterrupt
        add(self, answers)

    with monkeypatch.context() as patched:
        patched.setattr(progress.Progress, "add", add_or_stop)
        yield


@pytest.fixture
def broken_off(run, model, rows_file, monkeypatch):
    """Leave a run of ten rows after six of them."""
    with interrupted(monkeypatch, 2):
        code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert code == 130
    assert "The answers of 6 of 10 rows are kept in `answers.jsonl.progress`" in err
    assert not Path("answers.jsonl").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json", "parquet", "txt"])
def test_what_was_broken_off_ends_as_if_it_had_not_been(suffix, run, model, rows_file, monkeypatch):
    assert run("predict", model, rows_file, "-o", f"whole.{suffix}")[0] == 0
    with interrupted(monkeypatch, 2):
        run("predict", model, rows_file, "-o", f"answers.{suffix}")
    code, _, err = run("predict", model, rows_file, "-o", f"answers.{suffix}")
    assert code == 0
    assert f"6 of 10 rows have an answer in `answers.{suffix}.progress`; going on" in err
    assert "4 rows answered" in err
    assert Path(f"answers.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()
    assert not Path(f"answers.{suffix}.progress").exists()


@pytest.mark.parametrize("options", [(), ("--do-sample", "--seed", "7", "--num-beams", "2")])
def test_what_is_written_goes_on_too_after_a_break_at_any_byte(
    options, run, writer, tmp_path, monkeypatch
):
    file = write_lines(tmp_path / "r.jsonl", [{"text": row["text"]} for row in tiny_rows(8)])
    words = ("generate", writer, file, "--max-new-tokens", "3", *options)
    assert run(*words, "-o", "whole.jsonl")[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr(answering, "write_table", fail_to_write)
        run(*words, "-o", "answers.jsonl")
    kept = KEPT.read_bytes()
    assert kept.count(b"digest") == 3
    for end in sorted({*range(0, len(kept), 127), *line_ends(kept), len(kept)}):
        KEPT.write_bytes(kept[:end])
        assert run(*words, "-o", "answers.jsonl")[0] == 0
        assert Path("answers.jsonl").read_bytes() == Path("whole.jsonl").read_bytes(), end
        assert not KEPT.exists()


def fail_to_write(*_, **__):
    raise DataError("The disk is full.")


def line_ends(data: bytes) -> list[int]:
    return [place + 1 for place, byte in enumerate(data) if byte == 10]


def test_rows_are_not_answered_twice(run, model, rows_file, broken_off, monkeypatch):
    asked = []
    as_row = answering.TaskRows._task_row

    def counted(self, row, number):
        asked.append(number)
        return as_row(self, row, number)

    monkeypatch.setattr(answering.TaskRows, "_task_row", counted)
    assert run("predict", model, rows_file, "-o", "answers.jsonl")[0] == 0
    assert sorted(set(asked)) == [6, 7, 8, 9]


def test_rows_after_those_that_are_kept_may_change_or_come_to_it(
    run, model, rows_file, broken_off, tmp_path
):
    rows = tiny_rows(12)
    rows[7]["text"] = "very dull"
    write_lines(rows_file, rows)
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "6 of 12 rows have an answer" in err) == (0, True)
    run("predict", model, rows_file, "-o", "whole.jsonl")
    assert Path("answers.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_a_row_that_cannot_be_read_costs_nothing_that_was_answered(run, model, rows_file):
    rows = tiny_rows(10)
    write_lines(rows_file, [*rows[:8], {"text": None, "label": "good"}, *rows[9:]])
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "row 9: `text`" in err, "6 of 10 rows are kept" in err) == (2, True, True)
    write_lines(rows_file, rows)
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "4 rows answered" in err) == (0, True)


def test_changed_rows_are_refused(run, model, rows_file, broken_off):
    rows = tiny_rows(10)
    rows[4]["label"] = "good"
    write_lines(rows_file, rows)
    kept = KEPT.read_bytes()
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert code == 2
    assert err.startswith(
        "Error: Rows 4 to 6 are not those whose answers an earlier run has kept in "
        "`answers.jsonl.progress`."
    )
    assert "`--restart`" in err
    assert KEPT.read_bytes() == kept


def test_fewer_rows_are_refused_or_take_the_parts_that_are_whole(run, model, rows_file, broken_off):
    write_lines(rows_file, tiny_rows(4))
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "3 of 4 rows have an answer" in err) == (0, True)
    assert len(Path("answers.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--top-k", "0"), "`--top-k` was 1, is None"),
        (("--precision", "fp32", "--token-budget", "99"), "`--token-budget` was 4096, is 99"),
        (("--text-column", "label"), "`--text-column` was 'text', is 'label'"),
    ],
    ids=["candidates", "batches", "column"],
)
def test_changed_options_are_refused(words, message, run, model, rows_file, broken_off):
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl", *words)
    assert code == 2
    assert message in err
    assert "Give the same again to go on, or `--restart` to begin anew." in err


def test_another_model_is_refused(run, rows_file, tmp_path, model, broken_off):
    other = tiny_folder(tmp_path / "other", labels=["bad", "good"], seed=5)
    code, _, err = run("predict", other, rows_file, "-o", "answers.jsonl")
    assert (code, "the model's files are others" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "is_other"),
    [
        ("model.safetensors", True),
        ("generation_config.json", True),
        ("1_Pooling/config.json", True),
        ("optimizer.safetensors", False),
        ("README.md", False),
        ("checkpoint-3/model.safetensors", False),
    ],
)
def test_a_model_is_its_files(name, is_other, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    before = progress.digest_of_folder(tmp_path)
    file.write_text("1")
    assert (progress.digest_of_folder(tmp_path) != before) is is_other


def test_another_version_is_refused(run, model, rows_file, broken_off, monkeypatch):
    monkeypatch.setattr(progress, "__version__", "99.0")
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "is 99.0" in err) == (2, True)


def test_a_run_can_begin_anew(run, model, rows_file, broken_off):
    words = ("predict", model, rows_file, "-o", "answers.jsonl", "--top-k", "0", "--restart")
    code, _, err = run(*words)
    assert (code, "10 rows answered" in err) == (0, True)
    assert not KEPT.exists()


@pytest.mark.parametrize("data", [b"my notes\n", b"[1]\n", b'{"abrazo": 1}\n', b"[" * 9999 + b"\n"])
def test_a_file_of_someone_else_is_left_alone(data, run, model, rows_file):
    KEPT.write_bytes(data)
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, KEPT.read_bytes()) == (2, data)
    assert "is not what `abrazo` keeps of a run that was broken off" in err


def test_two_runs_do_not_write_the_same(run, model, rows_file):
    with KEPT.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "is being written by another process" in err) == (2, True)
    assert run("predict", model, rows_file, "-o", "answers.jsonl")[0] == 0


def test_a_full_disk_is_told(run, model, rows_file, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(progress.os, "fsync", full)
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl")
    assert (code, "`answers.jsonl.progress` cannot be written: [Errno 28]" in err) == (2, True)


def test_an_output_that_cannot_be_written_is_told_before_the_first_answer(run, model, rows_file):
    code, _, err = run("predict", model, rows_file, "-o", "nowhere/answers.jsonl")
    assert (code, err.startswith("Error: `nowhere/answers.jsonl` cannot be written")) == (2, True)
    code, _, err = run("predict", model, rows_file, "-o", "answers.jsonl.gz")
    assert (code, "files are written uncompressed" in err) == (2, True)


def test_an_empty_file_has_no_answers(run, model, tmp_path):
    (tmp_path / "none.txt").write_text("")
    code, _, err = run("predict", model, "none.txt", "-o", "answers.jsonl")
    assert (code, err) == (2, "Error: none.txt: the file is empty.\n")
    (tmp_path / "none.json").write_text("[]")
    code, _, err = run("predict", model, "none.json", "-o", "answers.jsonl")
    assert (code, "none.json" in err) == (2, True)


def test_the_answers_of_a_pipe_are_not_kept(run, model, rows_file, stdin):
    stdin(b'{"text": "a fine film"}\n')
    assert run("predict", model, "-", "-o", "answers.jsonl")[0] == 0
    assert len(Path("answers.jsonl").read_text().splitlines()) == 1
    assert run("predict", model, rows_file, "-o", "/dev/null", "--output-format", "csv")[0] == 0
    assert not Path("/dev/null.progress").exists()


def test_rows_with_an_answer_are_shown_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.shown_progress(10, 4) as show:
        show(10)
    assert "10/10" in capsys.readouterr().err


def test_elsewhere_a_line_says_how_far_a_run_is(monkeypatch, caplog):
    times = iter([0.0, 1.0, 40.0, 40.0, 41.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    caplog.set_level("INFO", "abrazo")
    with progress.shown_progress(10, 0) as show:
        for now in (1, 2, 3):
            show(now)
    assert [record.message for record in caplog.records] == ["2 of 10 rows have an answer."]


def test_the_last_line_of_a_part_says_how_many_rows_there_are(broken_off):
    header, *lines = map(json.loads, KEPT.read_text().splitlines())
    assert header["run"]["task"] == "text-classification"
    assert [line["rows"] for line in lines if isinstance(line, dict)] == [3, 6]
