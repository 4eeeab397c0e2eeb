"""Writing texts word by word: greedy, by beams or by chance, whole or as a stream."""
