"""Rows that teach a summariser to copy: the clause of a passage that says most of the rest.

    python benchmarks/clauses.py DATA/csl_title_zh/train.jsonl zh_wiki.txt.xz clauses.jsonl

Gap sentences as in Zhang et al. 2020, PEGASUS, section 3.1, but shorter, and most are left where
they stand (`--kept`): so there is something to copy. Passages are those of the corpus, which has
empty lines between its documents, whose characters the rows' texts have too, and those texts.
"""

import argparse
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator

from harness import read_jsonl

ENDS = re.compile(r"(?<=[，。！？；：,;!?\n])|(?<=[^0-9]\.)")
AROUND = " ，。！？；：,;.!?"
MOST_STRANGE = 2
"""Characters of a passage that the rows need not know."""


def passages(text: str, length: int) -> Iterator[list[str]]:
    """Cut a text into passages of whole clauses, at most `length` characters where clauses let."""
    passage: list[str] = []
    for clause in ENDS.split(text.replace("\n", "")):
        if passage and sum(map(len, passage)) + len(clause) > length:
            yield passage
            passage = []
        passage += [clause] if clause.strip() else []
    if passage:
        yield passage


def rows_of(clauses: list[str], most: int, kept: float) -> Iterator[dict[str, str]]:
    """Make rows of the clauses whose characters are most often in the others."""
    found = []
    for number, clause in enumerate(clauses):
        own = Counter(clause.strip(AROUND))
        if 8 <= own.total() <= 36:
            others = Counter("".join(clauses[:number] + clauses[number + 1 :]))
            found.append(((own & others).total() / own.total(), number))
    for _, number in sorted(found, reverse=True)[:most]:
        left = clauses if random.random() < kept else clauses[:number] + clauses[number + 1 :]
        if left:
            yield {"text": "".join(left).strip(), "summary": clauses[number].strip(AROUND)}


def main() -> None:
    """Write rows of the corpus, and of the texts themselves, in random order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train")
    parser.add_argument("corpus")
    parser.add_argument("output")
    parser.add_argument("--length", type=int, default=64, help="characters of a passage")
    parser.add_argument("--kept", type=float, default=0.9, help="share of clauses left in")
    parser.add_argument("--rows", type=int, default=120_000)
    options = parser.parse_args()
    random.seed(1)
    texts = [row["text"] for row in read_jsonl(options.train, None)]
    known = set("".join(texts))
    own = [row for text in texts for part in passages(text, options.length)
           for row in rows_of(part, 3, options.kept)]  # fmt: skip
    with lzma.open(options.corpus, "rt", encoding="utf-8") as file:
        documents = file.read().split("\n\n")
    wide = (part for document in documents for part in passages(document, options.length))
    read = (part for part in wide if len(set("".join(part)) - known) <= MOST_STRANGE)
    others = [
        row for part in read if len("".join(part)) >= 40 for row in rows_of(part, 1, options.kept)
    ]
    random.shuffle(others)
    rows = [row for row in others[: options.rows - len(own)] + own if len(row["text"]) >= 20]
    random.shuffle(rows)
    with open(options.output, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main()
