"""What the codes of samples are drawn from: its names in tables, in files and in metrics."""

from __future__ import annotations

from collections.abc import Mapping

# Samplers beside N(0, I): what their metrics and files are called, and what they draw from.
SAMPLERS = {
    "fitted_gaussian": ("fitted Gaussian", "a Gaussian fitted to the codes of the training images"),
    "mixture": ("mixture", "a mixture of Gaussians fitted to the codes of the training images"),
}
# All samplers, by what tables call them. Those of N(0, I) have metrics without a prefix.
SAMPLER_TITLES = {"normal": "N(0, I)", **{name: title for name, (title, _) in SAMPLERS.items()}}
# The baselines that are shown with the cells' metrics.
REFERENCES = {"training_images": "real images", "pixel_gaussian": "Gaussian", "noise": "noise"}


def metric_of_sampler(name: str, sampler: str) -> str:
    """The name of a metric of samples from a sampler: ``mixture_frechet_distance``."""
    return f"{sampler}_{name}" if sampler in SAMPLERS else name


def codes_from(sampler: str) -> str:
    """Where the codes of samples come from: ``codes from a mixture``."""
    article = "a " if sampler in SAMPLERS else ""
    return f"codes from {article}{SAMPLER_TITLES[sampler]}"


def best_sampler(metrics: Mapping[str, float | int | None]) -> str:
    """The sampler whose samples have the lowest Fréchet distance; empty where none was measured."""
    distances = {
        sampler: distance
        for sampler in SAMPLER_TITLES
        if (distance := metrics.get(metric_of_sampler("frechet_distance", sampler))) is not None
    }
    return min(distances, key=lambda sampler: distances[sampler], default="")
