"""Evaluation of a trained model on the test split, and on the validation split where it decides."""
