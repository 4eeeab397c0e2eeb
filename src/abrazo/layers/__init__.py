"""Attention, feed-forward, norms and positions on packed tokens."""
