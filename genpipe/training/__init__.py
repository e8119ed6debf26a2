"""The training loop, its checkpoints, and the format of a trained model."""
