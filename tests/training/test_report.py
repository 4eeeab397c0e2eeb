import re
import subprocess
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from abrazo.metrics import ClassificationMetrics, MultiLabelMetrics
from abrazo.training.report import (
    Mistake,
    RunReport,
    Sample,
    SplitSummary,
    render_report,
    write_report,
)

START = datetime(2025, 3, 4, 14, 2)
ATTACK = "</svg>--><script>alert(1)</script><img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def details(labels, rows=60):
    random = np.random.default_rng(0)
    truth = random.integers(0, len(labels), rows)
    metric = ClassificationMetrics(labels)
    metric.update(random.normal(size=(rows, len(labels))) + 2 * np.eye(len(labels))[truth], truth)
    return metric.details()


def run_report(**changes):
    values = {
        "title": "a run",
        "task": "text-classification",
        "model": "minilm",
        "started": START,
        "ended": START + timedelta(minutes=12, seconds=31),
        **changes,
    }
    return RunReport(**values)


def full_report(labels=("负面", "正面"), **changes):
    log = [{"step": s, "loss": 1 / s, "learning_rate": 5e-5 / s} for s in range(1, 30)]
    log += [{"step": 15, "eval_loss": 0.4, "eval_accuracy": 0.8, "eval_runtime": 0.5}]
    defaults = {
        "settings": {"seed": 42, "hub_token": "hf_hidden", "device": None},
        "environment": {"precision": "bf16"},
        "data": [
            SplitSummary(
                name="train",
                rows=1234,
                label_counts=dict.fromkeys(labels, 617),
                token_lengths={3: 10, 40: 7, 200: 3},
                max_length=128,
                truncated_rows=3,
            )
        ],
        "log": log,
        "metrics": {"eval_accuracy": 0.875, "eval_auc": float("nan")},
        "details": details(labels),
        "mistakes": [
            Mistake(text="好", label="负面", predicted="正面", score=0.99, origin="a.csv")
        ],
        "notes": ["3 rows were cut."],
    }
    return run_report(**{**defaults, **changes})


def charts(page):
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def test_a_report_is_one_file_that_asks_for_nothing(tmp_path):
    write_report(tmp_path / "new" / "report.html", full_report())
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(elements.tags)
    assert "default-src 'none'" in page
    references = [v for k, v in elements.attributes if k in ("src", "href", "xlink:href")]
    assert all(value.startswith("#") for value in references)
    assert "url(http" not in page


def test_what_data_says_stays_text():
    labels = [ATTACK, "$\\frac{$"]
    texts = [Sample(text=ATTACK, right=ATTACK, written=ATTACK, score=0.5, origin=ATTACK)]
    page = render_report(
        full_report(
            labels,
            title=ATTACK,
            task=ATTACK,
            model=ATTACK,
            notes=[ATTACK],
            settings={ATTACK: ATTACK},
            environment={ATTACK: ATTACK},
            metrics={ATTACK: 1.0},
            mistakes=[
                Mistake(text=ATTACK, label=ATTACK, predicted=ATTACK, score=1.0, origin=ATTACK)
            ],
            samples=texts,
            unlike=texts,
            unlike_by=ATTACK,
            data=[
                SplitSummary(name=ATTACK, rows=1, label_counts={ATTACK: 1}, token_lengths={1: 1})
            ],
        )
    )
    elements = Elements(page)
    assert not {"script", "img"} & set(elements.tags)
    assert ATTACK in elements.text
    assert any(name.startswith("on") for name, _ in elements.attributes) is False


def test_every_chart_is_sound_and_takes_the_colours_of_the_page():
    drawn = charts(render_report(full_report()))
    assert len(drawn) == 6  # loss, evaluation, learning rate, calibration, confusion, lengths
    for chart in drawn:
        ElementTree.fromstring(chart.replace("xlink:", ""))
        colours = set(re.findall(r"(?:fill|stroke): (#\w+)", chart))
        assert colours <= {"#ffffff", "#000000"}
        assert "var(--" in chart


def test_chinese_names_are_text_in_charts_and_tables():
    page = render_report(full_report())
    assert any("负面" in chart for chart in charts(page))
    assert "<th>负面</th>" in page
    assert "font-family" not in "".join(charts(page))


@pytest.mark.parametrize("label", ["a\x00b", "half \ud800", "two\nlines", "x" * 200, "$x", ""])
def test_odd_names_and_texts_do_not_break_a_report(tmp_path, label):
    mistakes = [Mistake(text=label, label=label, predicted="b", score=0.5, origin="")]
    write_report(tmp_path / "r.html", full_report((label, "other"), mistakes=mistakes))
    assert "other" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_report_of_an_evaluation_has_no_curves():
    page = render_report(full_report(log=()))
    assert "<h2>Training</h2>" not in page
    assert "Confusion matrix" in page


def test_what_is_empty_is_left_out():
    page = render_report(run_report())
    assert charts(page) == []
    assert "<h2>" not in page
    assert "12 min 31 s" in page


def test_figures_are_for_reading():
    page = render_report(full_report(metrics={"accuracy": 0.875, "rows": 12345, "mse": 1e-7}))
    for shown in ("0.8750", "12,345", "1e-07"):
        assert f'<td class="number">{shown}</td>' in page


def test_figures_that_are_undefined_are_a_dash():
    page = render_report(full_report())
    assert '<th>auc</th><td class="number">–</td>' in page


def test_secrets_among_the_settings_are_not_shown():
    page = render_report(full_report(settings={"hub_token": "hf_hidden", "max_tokens": 64}))
    assert "hf_hidden" not in page
    assert "64" in page


def test_mistakes_come_the_most_confident_first():
    mistakes = [
        Mistake(text=f"text {score}", label="a", predicted="b", score=score, origin="")
        for score in (0.6, 0.9, 0.7)
    ]
    page = render_report(run_report(mistakes=mistakes))
    assert re.findall(r"text (0\.\d)", page) == ["0.9", "0.7", "0.6"]


def test_written_texts_have_a_figure_and_a_place_where_they_are_unlike():
    texts = [Sample(text="read", right="wished", written="got", score=1.25, origin="a.csv, row 2")]
    plain = render_report(run_report(samples=texts))
    assert all(word in plain for word in ("read", "wished", "got"))
    assert "row 2" not in plain
    page = render_report(run_report(unlike=texts, unlike_by="chrf"))
    assert '<td class="number">1.2500</td><td class="origin">a.csv, row 2</td>' in page
    assert "<h2>Written</h2>" not in page


def test_the_pairs_most_often_confused_are_named():
    metric = ClassificationMetrics(["a", "b", "c"])
    chosen = np.array([0, 1, 1, 1, 2])
    metric.update(np.eye(3)[chosen], np.array([0, 0, 0, 1, 1]))
    page = render_report(full_report(details=metric.details()))
    found = re.findall(r'<td>(\w)</td><td class="wrong">(\w)</td><td class="number">(\d)', page)
    assert found == [("a", "b", "2"), ("b", "c", "1")]


@pytest.mark.parametrize("size", [2, 25, 80, 120])
def test_a_confusion_matrix_fits_the_page_at_any_size(size):
    labels = [f"intent number {n}" for n in range(size)]
    page = render_report(full_report(labels, log=(), data=()))
    widths = [float(w) for w in re.findall(r'viewBox="0 0 ([\d.]+)', page)]
    assert max(widths) <= 1040
    named = sum(
        "intent number" in text
        for text in ElementTree.fromstring(charts(page)[-1].replace("xlink:", "")).itertext()
    )
    assert named == (2 * size if size <= 100 else 0)


def test_figures_up_to_100_have_a_chart_of_their_own():
    log = [
        {"step": step, "eval_accuracy": step / 4, "eval_bleu": 10.0 * step, "eval_big": 1e3}
        for step in range(4)
    ]
    page = render_report(run_report(log=log))
    heads = re.findall(r"<h3>(Evaluation.*?)</h3>", page)
    assert heads == ["Evaluation", "Evaluation, of 100"]
    assert ">big<" not in page


def test_long_and_broken_logs_make_small_curves():
    log = [{"step": s, "loss": float("nan") if s == 7 else 1.0 + s % 3} for s in range(20_000)]
    page = render_report(run_report(log=log))
    assert len(charts(page)) == 1
    assert len(page) < 60_000
    assert "nan" not in charts(page)[0]


def test_quantiles_of_lengths_are_told():
    split = SplitSummary(name="train", rows=100, token_lengths={5: 50, 9: 45, 80: 5}, max_length=64)
    page = render_report(run_report(data=[split]))
    assert "median 5 · 95 % 9 · 99 % 80 · longest 80 · cut at 64" in page


def test_several_labels_a_row_have_a_table_but_no_matrix():
    metric = MultiLabelMetrics(["a", "b"])
    metric.update(np.ones((3, 2)), np.array([[0, 1], [1, 1], [0, 0]]))
    page = render_report(full_report(details=metric.details()))
    assert "Per class" in page
    assert "Confusion matrix" not in page


def test_the_same_run_gives_the_same_file():
    assert render_report(full_report()) == render_report(full_report())


def test_a_report_does_without_torch_and_leaves_the_plotting_library_as_it_was():
    script = (
        "import sys; import abrazo.training.report as r; from datetime import datetime as d;"
        "assert not {'torch', 'matplotlib', 'jinja2'} & set(sys.modules);"
        "import matplotlib; before = dict(matplotlib.rcParams);"
        "r.render_report(r.RunReport(title='', task='', model='', started=d(2025, 1, 1),"
        " ended=d(2025, 1, 1), log=[{'step': 1, 'loss': 1.0}]));"
        "assert dict(matplotlib.rcParams) == before;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
