"""Counts that can be merged, and the figures made of them."""
