"""The trainer, its arguments, and what it needs to keep time and lose nothing."""
