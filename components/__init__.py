"""The steps of the pipeline: one folder a step, a function behind a thin KFP adapter."""

import genpipe  # noqa: F401  (settles the surroundings before any library is imported)
