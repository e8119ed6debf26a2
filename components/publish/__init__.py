"""Publishing the best cells of a run."""
