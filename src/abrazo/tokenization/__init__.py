"""Tokenizers: text to ids and back, with offsets; stateless and safe in threads."""
