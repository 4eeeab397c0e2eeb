"""What is said of windows becomes one line for each token of the text."""

import numpy as np
import pytest

from abrazo.tasks.windows import join_windows, windows_of
from helpers.tiny import tiny_tokenizer


@pytest.mark.parametrize("max_length", [9, 16, 64])
@pytest.mark.parametrize("question", [None, "who is tom"])
def test_each_token_comes_from_the_window_it_belongs_to(max_length, question):
    texts = ["the film is good " * 9, "good", "", "我住在北京" * 5]
    questions = None if question is None else [question] * len(texts)
    encoded = tiny_tokenizer().encode_windows(texts, questions, max_length=max_length, stride=2)
    windows = list(windows_of(encoded))
    for row in range(len(texts)):
        mine = [i for i in range(len(encoded)) if encoded.rows[i] == row]
        said = []
        for i in mine:
            values = np.full(encoded.lengths[i], -1)
            window = windows[i]
            values[window.shown_places] = window.start + np.arange(window.count)
            said.append(values)
        joined = join_windows([windows[i] for i in mine], said)
        assert joined.tolist() == list(range(int(np.diff(encoded.text_offsets)[row])))
