"""Entities in one very long text: seconds and memory by its length, each in a process of its own.

    python benchmarks/long_text.py --sizes 25000 50000 100000

The model is MiniLM-L6 with an untrained head, which reads windows of 512 tokens that share 128. The
texts are words, or Chinese characters, drawn at random. Seconds are those of the call alone;
`peak_mb` is that of the whole process, Python and torch included.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time

WORDS = (
    *("the", "of", "and", "in", "a", "was", "she", "met", "on", "they", "went", "from", "to"),
    *("Paris", "London", "Anna", "Peter", "Monday"),
)
SIGNS = "我在北京见到了李明他说上海的天气很好今年春节我们一起去广州看朋友"


def main() -> None:
    """Run as parent or child, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    parser.add_argument("--scripts", nargs="+", choices=["latin", "chinese"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _measure(options.child[0], int(options.child[1]), options.threads)
        return
    for script in options.scripts or ["latin", "chinese"]:
        for size in options.sizes:
            command = [sys.executable, *sys.argv, "--child", script, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            figures = json.loads(done.stdout.splitlines()[-1])
            listed = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
            print(f"{script:8} {size:8,} characters  {listed}", flush=True)


def _measure(script: str, size: int, threads: int) -> None:
    import torch

    from abrazo import AutoModelForTokenClassification
    from abrazo.inference.pipeline import pipeline

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    model = AutoModelForTokenClassification.from_pretrained("minilm", labels=labels)
    ask = pipeline("token-classification", model)
    ask("Anna was in Paris.")
    text, started, began = _text(script, size), time.process_time(), time.perf_counter()
    found = ask(text)
    figures = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - started,
        "spans": len(found),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def _text(script: str, size: int) -> str:
    draw = random.Random(0)
    if script == "chinese":
        return "".join(draw.choices(SIGNS, k=size))
    return " ".join(draw.choices(WORDS, k=size // 2))[:size]


if __name__ == "__main__":
    main()
