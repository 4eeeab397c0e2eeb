"""Weights on disk: names, files, and folders that are whole or absent."""
