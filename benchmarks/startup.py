"""Starting up: what importing and asking for help cost, as whole processes taking turns.

python benchmarks/startup.py
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import abrazo": [sys.executable, "-c", "import abrazo"],
    "import torch": [sys.executable, "-c", "import torch"],
    "from abrazo import BertModel": [sys.executable, "-c", "from abrazo import BertModel"],
    "from transformers import BertModel": [
        sys.executable,
        "-c",
        "from transformers import BertModel",
    ],
    "abrazo --help": [sys.executable, "-m", "abrazo.cli.main", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds + 1):  # the first round warms the page cache
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - started)
    for name, seconds in times.items():
        print(f"{name:36} {statistics.median(seconds[1:]):.3f} s")


if __name__ == "__main__":
    main()
