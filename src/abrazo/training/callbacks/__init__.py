"""Everything optional around the training loop."""
