"""From hidden states to logits and loss."""
