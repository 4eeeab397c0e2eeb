"""Backbones, one file a family, and the base they share."""
