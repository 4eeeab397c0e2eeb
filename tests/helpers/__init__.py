"""Tiny models, tokenizers and data, built in code, that many tests share."""
