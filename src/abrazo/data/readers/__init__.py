"""Readers of table files: each turns untrusted bytes into an Arrow table or a `DataError`."""
