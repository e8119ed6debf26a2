"""Notify: have W&B tell its user of a pipeline run that failed."""
