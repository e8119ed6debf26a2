"""What a report says of its pictures and charts, in sentences with the run's own metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from genpipe.cells import Status
from genpipe.families.spec import FamilySpec
from genpipe.metrics.bootstrap import mean_interval
from genpipe.metrics.registry import METRICS, format_metric
from genpipe.metrics.samplers import metric_of_sampler
from genpipe.metrics.samples import COVERED_SHARE
from genpipe.reporting.curves import points_of
from genpipe.reporting.results import Result, best_results, file_of, read_step

NAMED = 10  # classes in a sentence


def lead(best: Result, results: Sequence[Result]) -> str:
    """By how much the best cell of a family leads the second best, in a sentence.

    With the 95% interval of the difference. Where the cells have encoders it is that of a mean
    over the validation images, each of which both have rebuilt; else it comes from both metrics'
    own. Of cells that were trained with several seeds it is the standard deviation of the
    difference of two trainings.

    Returns:
        The sentence; empty if the cell is alone.
    """
    name = best.cell.family.deciding[0]
    others = [
        (float(value), result)
        for result in results
        if result.cell.family is best.cell.family
        and result is not best
        and result.status == Status.COMPLETE
        and (value := result.metrics.get(name)) is not None
    ]
    own = best.metrics.get(name)
    if not others or own is None:
        return ""
    value, second = min(others, key=lambda other: other[0])
    text = format_metric(name, value - own)
    losses = [_read_losses(result) if not result.trainings else None for result in (best, second)]
    if losses[0] is not None and losses[1] is not None and losses[0].shape == losses[1].shape:
        low, high = mean_interval(losses[1] - losses[0])
        reach = (high - low) / 2
    else:
        both = [result.intervals.get(name, (0.0, 0.0)) for result in (best, second)]
        reach = math.hypot(*((high - low) / 2 for low, high in both))
    if reach:
        text += f" ± {reach:.{len(text.partition('.')[2])}f}"
    metric = METRICS[name.removeprefix("validation_")].within
    told = f"On the validation split its {metric} is {text} lower than at latent size "
    told += str(second.cell.latent_size)
    if reach and value - own <= reach:
        return f"{told}, which may be chance."
    return f"{told}, the second best."


def _read_losses(result: Result) -> np.ndarray | None:
    """What each validation image costs, (n,), as ``evaluate`` wrote it; None if it did not."""
    path = file_of(result, "validation_losses.npy")
    try:
        losses = np.load(path, allow_pickle=False) if path else np.empty(0)
    except (OSError, ValueError, EOFError):
        return None
    whole = losses.ndim == 1 and len(losses) and losses.dtype.kind == "f"
    return losses.astype(np.float64) if whole else None


def samples_caption(result: Result, class_names: Sequence[str], sampler: str = "normal") -> str:
    """What the judge sees in the samples of a cell, in sentences."""
    distance, covered, share, confidence = (
        format_metric(name, result.metrics.get(metric_of_sampler(name, sampler)))
        for name in (
            *("frechet_distance", "classes_covered"),
            *("largest_class_share", "mean_confidence"),
        )
    )
    if not covered:
        return ""
    what = "digits" if all(name.isdecimal() for name in class_names) else "classes"
    told = [
        f"Fréchet distance {distance}." if distance else "",
        f"The judge finds {covered} of {len(class_names)} {what} in them, the most frequent in "
        f"{share}, with a mean confidence of {confidence}.",
    ]
    if sampler == "normal":
        told += [_missing_classes(result, class_names), _least_covered(result, class_names)]
    return " ".join(filter(None, told))


def _missing_classes(result: Result, class_names: Sequence[str]) -> str:
    """The classes that hardly any sample shows, in a sentence."""
    shares = read_step(result.samples).get("class_shares") or ()
    least = COVERED_SHARE / len(class_names)
    try:
        named = zip(class_names, shares, strict=False)
        missing = [name for name, share in named if share < least]
    except TypeError:  # no list, or not of numbers
        return ""
    if not missing:
        return ""
    *others, last = missing
    if len(missing) > NAMED:
        others, last = missing[:NAMED], f"{len(missing) - NAMED} more"
    each = f"Each of {', '.join(others)} and {last}" if others else last
    return f"{each} is in fewer than {least:.1%} of them."


def _least_covered(result: Result, class_names: Sequence[str]) -> str:
    """The class with the lowest coverage, in a sentence."""
    coverage = read_step(result.samples).get("class_coverage") or ()
    try:
        named = zip(class_names, coverage, strict=False)
        share, name = min((float(share), name) for name, share in named)
    except (TypeError, ValueError):  # no list, an empty one, or not of numbers
        return ""
    return f"Coverage is lowest for {name}: {format_metric('coverage', share)}."


def areas_caption(result: Result) -> str:
    """How the classes share the latent plane of a cell, at latent size 2."""
    smallest, largest = (
        format_metric(name, result.metrics.get(name))
        for name in ("smallest_class_area_share", "largest_class_area_share")
    )
    if not smallest or not largest:
        return ""
    gaps = result.metrics.get("gap_share")
    told = format_metric("gap_share", gaps)
    holes = f"; {told} of draws over it fall where no code lies" if gaps is not None else ""
    return f"Each class holds {smallest} to {largest} of the plane that the codes take up{holes}."


def metric_of(result: Result, name: str) -> str:
    """A metric of a cell with its name."""
    text = format_metric(name, result.metrics.get(name))
    return f"{METRICS[name].label} {text}" if text else ""


def active_units(family: FamilySpec, results: Sequence[Result]) -> str:
    """One sentence on how many of its units a variational family uses; empty for others."""
    points = points_of(
        (r for r in results if r.cell.family is family and r.status == Status.COMPLETE),
        "active_units",
    )
    if not points:
        return ""
    # No-break spaces: "18 of 100" stays on one line.
    *others, last = [f"{active:.0f}\xa0of\xa0{size:.0f}" for size, active in points]
    each = f"{', '.join(others)} and {last}" if others else last
    most = max(active for _, active in points)
    label = family.label
    if all(active >= size for size, active in points):
        return f"The {label} uses all the units that it is given: {each} are active."
    if len(points) == 1 or most >= points[-1][0]:
        return f"The {label} does not use all the units that it is given: {each} are active."
    return (
        f"The {label} uses no more than {most:.0f} units, however many it is given: {each} are "
        "active. "
        "The KL divergence switches off a unit that does not pay for itself, so a larger code "
        "changes little."
    )


def why_the_standard_normal_fails(family: FamilySpec, results: Sequence[Result]) -> str:
    """What the codes of a family are like that was never asked to follow N(0, I), with metrics."""
    best = best_results(results).get(family)
    if best is None or family.follows_prior:
        return ""
    distance = best.metrics.get("code_mean_distance")
    measured = (
        f": at latent size {best.cell.latent_size} their mean lies {distance:.1f} away from 0"
        if distance is not None
        else ""
    )
    return (
        f"Nothing in the training of the {family.label} asks its codes to follow N(0, I)"
        f"{measured}. So codes drawn from N(0, I) fall where the decoder has seen few or none; "
        "what is fitted to the training codes draws closer to where they are."
    )
