"""`abrazo evaluate` on models that write: options of writing, and the texts in the report."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abrazo as az
from abrazo.metrics.translation import ChrfMetrics
from helpers.files import write_lines
from helpers.tiny import scramble
from helpers.writers import tiny_bart, tiny_llama

SOURCES = ["a good film", "anna lives in paris", "我住在北京", "the plot was dull", "it is <b>"]
EXACT = ("--precision", "fp32", "--device", "cpu")


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> str:
    """Return the folder of a small translator that has something to say."""
    folder = tmp_path_factory.mktemp("models") / "bart"
    model = tiny_bart()
    scramble(model, 1, std=0.3)
    task = az.TASKS["translation"]
    rows = az.Dataset.from_list([{"source": "a", "target": "b"}])
    task.learn(rows, task.settings_type()).prepare_model(model)
    model.save_pretrained(folder)
    return str(folder)


def written(writer: str, settings: dict[str, Any] | None = None, **options: Any) -> list[str]:
    write = az.pipeline("translation", writer, precision="fp32", device="cpu", **(settings or {}))
    return [answer["translation_text"] for answer in write(SOURCES, **options)]


def rows_of(wished: list[Any]) -> list[dict[str, Any]]:
    return [{"source": s, "target": t} for s, t in zip(SOURCES, wished, strict=True)]


def chrf(given: list[str], wished: list[str]) -> float:
    metric = ChrfMetrics()
    metric.update(np.array(given, object), np.array(wished, object))
    return metric.compute()["chrf"]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--max-new-tokens", "3"], {"max_new_tokens": 3}),
        (["--num-beams", "3", "--length-penalty", "2"], {"num_beams": 3, "length_penalty": 2.0}),
        (["--do-sample", "--seed", "4"], {"do_sample": True, "seed": 4}),
    ],
    ids=["length", "beams", "draws"],
)
def test_texts_are_written_as_the_options_say(words, options, writer, run, tmp_path):
    wished = written(writer, **options)
    assert wished != written(writer)
    file = write_lines(tmp_path / "r.jsonl", rows_of(wished))
    figures = json.loads(run("evaluate", writer, file, "--json", *EXACT, *words)[1])
    assert figures["chrf"] == pytest.approx(100)
    plain = json.loads(run("evaluate", writer, file, "--json", *EXACT)[1])
    assert plain["chrf"] == pytest.approx(chrf(written(writer), wished))
    assert plain["chrf"] < 90


def test_a_prefix_can_be_given(writer, run, tmp_path):
    wished = written(writer, {"prefix": "very bad "})
    assert wished != written(writer)
    file = write_lines(tmp_path / "r.jsonl", rows_of(wished))
    words = ("--json", "--prefix", "very bad ", *EXACT)
    assert json.loads(run("evaluate", writer, file, *words)[1])["chrf"] == pytest.approx(100)


def test_options_that_contradict_each_other_are_told_by_their_names(writer, run, tmp_path):
    file = write_lines(tmp_path / "r.jsonl", rows_of(["a"] * 5))
    code, _, err = run("evaluate", writer, file, "--num-return-sequences", "3", "--num-beams", "2")
    assert code == 2
    assert "`--num-return-sequences`" in err
    code, _, err = run("evaluate", writer, file, "--tgt-lang", "de", *EXACT)
    assert (code, "languages" in err) == (2, True)


def test_options_of_writing_are_refused_where_nothing_is_written(model, rows_file, run, tmp_path):
    code, _, err = run("evaluate", model, rows_file, "--num-beams", "2", "--no-do-sample")
    assert code == 2
    assert "Options of writing (`--num-beams`, `--do-sample`) say nothing here" in err
    assert "'text-classification'" in err
    tiny_llama().save_pretrained(tmp_path / "llama")
    file = write_lines(tmp_path / "r.jsonl", [{"text": "the film is good"}])
    assert run("evaluate", tmp_path / "llama", file)[0] == 0
    code, _, err = run("evaluate", tmp_path / "llama", file, "--num-beams", "2")
    assert (code, "'text-generation'" in err) == (2, True)


def table(page: str, title: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    (part,) = re.findall(rf"<h2>{title}</h2>(.*?)</section>", page, flags=re.DOTALL)
    rows = re.findall(r"<tr>\s*<td(.*?)</tr>", part, flags=re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", f"<td{row}", flags=re.DOTALL) for row in rows]


def test_the_report_shows_what_was_read_wished_for_and_written(writer, run, tmp_path):
    given = written(writer)
    wished = [given[0], f"{given[1]} paris", "好好好", f"{given[3]}s", "<i>0</i>"]
    rows = rows_of(wished)
    rows[3]["references"] = [wished[3], "a film"]
    file = write_lines(tmp_path / "r.jsonl", rows)
    assert run("evaluate", writer, file, *EXACT)[0] == 0
    page = Path("evaluation/report.html").read_text(encoding="utf-8")
    shown = table(page, "Written")
    assert [row[0] for row in shown] == [*SOURCES[:4], "it is &lt;b&gt;"]
    assert [row[2] for row in shown] == given
    assert shown[3][1] == f"{given[3]}s\na film"
    lowest = table(page, "Least like what was wished for")
    assert '<th class="number">chrf</th>' in page
    assert {row[0] for row in lowest} == {row[0] for row in shown[1:]}  # the first is right
    scores = [float(row[3]) for row in lowest]
    assert scores == sorted(scores)
    scored = {row[0]: row for row in lowest}
    assert scored[SOURCES[1]][1:3] == [wished[1], given[1]]
    assert float(scored[SOURCES[1]][3]) == pytest.approx(chrf(given[1:2], wished[1:2]), abs=0.01)
    assert scored[SOURCES[1]][4].endswith("r.jsonl, row 2")
    assert "Confidently wrong" not in page
