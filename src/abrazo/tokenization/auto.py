"""`AutoTokenizer`: loads whatever tokenizer a model has."""

from abrazo.tokenization.tokenizer import Tokenizer


class AutoTokenizer(Tokenizer):
    """The name under which people look for `from_pretrained`.

    A tokenizer's files say all about it, so every family is read by the same code; the class that
    `tokenizer_config.json` names is never looked up.
    """
