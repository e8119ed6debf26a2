"""Training: the models, the loop they share, and what a trained model is saved as."""
