"""Names to files: local folders, the cache, hubs, and model cards."""
