"""Datasets as Arrow tables, their readers, and the way from rows to batches."""
