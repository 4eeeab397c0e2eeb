"""Runs contenders side by side, each in a process of its own, in turn, and prints ratios.

A contender is a function that returns figures. Contenders take turns round by round (A B C, A B C,
...), so that a machine that slows down slows all of them; what is quoted is the median.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Contender = Callable[[argparse.Namespace], dict[str, float]]


def run(
    contenders: Mapping[str, Contender],
    parser: argparse.ArgumentParser,
    *,
    figure: str | Sequence[str],
    baseline: str = "abrazo",
) -> None:
    """Run as parent or child, as the arguments say.

    Args:
        contenders: By name; the child runs one of them and prints its figures.
        parser: With the benchmark's own options.
        figure: The figure that ratios are made of, or several; more is better.
        baseline: The contender that the others are compared with.
    """
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="*", help="contenders to run")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import torch

        torch.set_num_threads(options.threads)
        figures = contenders[options.child](options)
        figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("FIGURES " + json.dumps(figures))
        return
    names = [name for name in contenders if not options.only or name in options.only]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            found[name].append(_child(name))
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads")
    table = {name: _medians(rounds) for name, rounds in found.items()}
    compared = [figure] if isinstance(figure, str) else figure
    base = table.get(baseline, {})
    for name, figures in table.items():
        ratios = [f"{base[key] / figures[key]:.2f} x" for key in compared if key in base]
        ratio = f"  abrazo is {', '.join(ratios)}" if ratios and name != baseline else ""
        listed = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
        print(f"{name:28} {listed}{ratio}")


def _child(name: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--child", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, float] = json.loads(lines[-1].removeprefix("FIGURES "))
    return figures


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def read_jsonl(path: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the rows of a JSONL file."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows[:limit]
