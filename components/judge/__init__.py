"""The ``judge`` step."""
