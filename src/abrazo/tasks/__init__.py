"""One file a task: what a row means, which head it needs, what an answer is."""
