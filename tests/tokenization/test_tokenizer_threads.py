"""One tokenizer serves many threads and processes."""

import copy
import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from tokenizer_samples import TEXTS, VOCAB

from abrazo.tokenization.bert import BertTokenizer

SETTINGS = [
    {},
    {"padding": True},
    {"truncation": True, "max_length": 6},
    {"truncation": True, "max_length": 9, "padding": "max_length"},
    {"truncation": True, "max_length": 8, "stride": 2, "return_overflowing_tokens": True},
    {"add_special_tokens": False, "return_offsets_mapping": True},
    {"padding": True, "padding_side": "left", "return_special_tokens_mask": True},
    {"truncation": "only_first", "max_length": 12, "return_length": True},
]


def test_64_threads_with_mixed_settings_answer_as_one_thread_does():
    tokenizer = BertTokenizer(VOCAB)
    rng = random.Random(0)
    jobs = [(rng.sample(TEXTS, 4), rng.choice(SETTINGS)) for _ in range(640)]
    alone = [dict(tokenizer(texts, **options)) for texts, options in jobs]
    flat = [tokenizer.encode_rows(texts, max_length=7).input_ids.tolist() for texts, _ in jobs]

    def run(job):
        texts, options = job
        called = dict(tokenizer(texts, **options))
        return called, tokenizer.encode_rows(texts, max_length=7).input_ids.tolist()

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(run, jobs))
    assert [called for called, _ in together] == alone
    assert [ids for _, ids in together] == flat


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_give_the_same_and_are_apart(copied):
    tokenizer = BertTokenizer(VOCAB, do_lower_case=False, model_max_length=30)
    tokenizer.add_tokens("newword")
    other = copied(tokenizer)
    assert type(other) is BertTokenizer
    assert dict(other(TEXTS)) == dict(tokenizer(TEXTS))
    assert other.model_max_length == 30
    other.add_tokens("another")
    assert len(other) == len(tokenizer) + 1


def test_an_encoding_can_be_pickled():
    encoding = BertTokenizer(VOCAB)(TEXTS, padding=True, return_tensors="np")
    again = pickle.loads(pickle.dumps(encoding))
    assert again.tokens(0) == encoding.tokens(0)
    assert (again.input_ids == encoding.input_ids).all()
    assert again.char_to_token(0, 1) == encoding.char_to_token(0, 1)


FORK = """
import os, sys
sys.path.insert(0, {tests!r})
from tokenizer_samples import TEXTS, VOCAB
from torch.utils.data import DataLoader
from abrazo.tokenization.bert import BertTokenizer

tokenizer = BertTokenizer(VOCAB)
expected = tokenizer(TEXTS * 50, padding=True)["input_ids"]
class Rows:
    def __len__(self): return 4
    def __getitem__(self, i): return tokenizer(TEXTS * 50, padding=True)["input_ids"]
loader = DataLoader(Rows(), num_workers=2, batch_size=None, multiprocessing_context="fork")
assert all(rows == expected for rows in loader)
assert tokenizer(TEXTS * 50, padding=True)["input_ids"] == expected
assert {setting!r} == os.environ.get("TOKENIZERS_PARALLELISM"), "the setting leaked"
"""


@pytest.mark.parametrize("setting", [None, "true", "false"])
def test_forked_workers_neither_hang_nor_complain(setting):
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    if setting is not None:
        environment["TOKENIZERS_PARALLELISM"] = setting
    script = FORK.format(tests=os.path.dirname(__file__), setting=setting)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_importing_the_package_does_not_import_torch():
    script = "import abrazo.tokenization, sys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_encoding_without_tensors_does_not_import_torch():
    script = (
        "import sys; from abrazo.tokenization.bert import BertTokenizer;"
        "BertTokenizer(['[UNK]','[CLS]','[SEP]','a'])('a'); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_special_runs_are_apart_in_every_window():
    tokenizer = BertTokenizer(VOCAB)
    rows = tokenizer("a " * 30, truncation=True, max_length=9, return_overflowing_tokens=True)
    assert all(ids[0] == 2 and ids[-1] == 3 for ids in rows["input_ids"])
    assert all(a.offsets[-2][1] < b.offsets[1][0] for a, b in pairwise(rows.encodings))
