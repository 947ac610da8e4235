"""Data sets, input pipeline, losses, the training step and loop, evaluation."""
