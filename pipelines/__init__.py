"""The pipeline, where it runs, and the ``genpipe`` command."""
