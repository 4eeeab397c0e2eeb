"""Loading BERT-base from safetensors, against reading the file and against `transformers`.

    python benchmarks/load_bert_base.py

The weights are random and written to a temporary folder first: all read from the page cache.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def measure(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    import transformers

    from abrazo import BertConfig, BertModel

    with tempfile.TemporaryDirectory() as folder:
        BertModel(BertConfig()).save_pretrained(folder)
        file = Path(folder, "model.safetensors")
        print(f"{file.stat().st_size / 1e6:.0f} MB")
        transformers.logging.set_verbosity_error()
        contenders = {
            "reading the file": file.read_bytes,
            "abrazo": lambda: BertModel.from_pretrained(folder),
            "transformers": lambda: transformers.BertModel.from_pretrained(folder),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, call in contenders.items():
                times[name].append(measure(call))
    reading = statistics.median(times["reading the file"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:18} {median:.3f} s   {median / reading:.2f} x reading")


if __name__ == "__main__":
    main()
