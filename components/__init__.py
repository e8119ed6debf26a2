"""The steps of the pipeline: one folder a step, ordinary Python behind a thin KFP adapter."""

from components.surroundings import prepare

prepare()
