"""`abrazo generate` as a program that kills itself: `python answering_run.py PLACE WORDS...`.

PLACE is `0`, which kills nothing; or `N.K` for the N-th part, of which the first K lines and half
of the next are in the file by then.
"""

import os
import signal
import sys
from collections.abc import Sequence

from abrazo.cli import answering
from abrazo.cli.main import main
from abrazo.cli.progress import Progress


def killed_at(part: int, lines: int) -> None:
    """Let the process die while it writes."""
    write = Progress._write

    def write_or_die(self: Progress, given: Sequence[bytes]) -> None:
        if self.num_rows == part * 4 and len(given) > 1:
            data = b"".join(given[:lines]) + given[lines][: len(given[lines]) // 2]
            os.write(self._file.fileno(), data)
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, given)

    Progress._write = write_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    answering._TEXTS_OF_A_PART = {"cpu": 4}
    if sys.argv[1] != "0":
        killed_at(*map(int, sys.argv[1].split(".")))
    sys.exit(main(sys.argv[2:]))
