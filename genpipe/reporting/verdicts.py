"""Which model is best, and for what: across families, each of which chooses its own best.

A family chooses its best latent size by a metric of its own, on the validation split
(``best_results``). Here models of all families are compared by what they share: metrics of the
test split, and of samples those of the sampler that serves a model best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genpipe.cells import Cell, Status
from genpipe.families.spec import COMPARED_BY
from genpipe.metrics.registry import format_metric, format_spread
from genpipe.metrics.samplers import SAMPLER_TITLES, best_sampler, metric_of_sampler
from genpipe.reporting.results import Result, over_seeds
from genpipe.words import counted

ERROR, DISTANCE = "mean_squared_error", "frechet_distance"
CLASSES = "classes_covered"
REBUILT_DISTANCE = "reconstruction_frechet_distance"
# Of the test images; a judge that gets fewer right has features that tell little.
SURE_JUDGE = 0.9


LABELS = {
    "reconstruction": COMPARED_BY[ERROR],
    "samples": COMPARED_BY[DISTANCE],
    "compromise": "mean of two Fréchet distances",
}
AMONG = {
    "reconstruction": "models that rebuild images",
    "samples": "models, each with its best sampler",
    "compromise": "models that do both",
}


@dataclass(frozen=True)
class Score:
    """What one model is compared by.

    Args:
        result: the model's cell.
        value: the smaller, the better.
        reach: half of its 95% interval; of several trainings their standard deviation; 0 where
            that is not known.
        sampler: where its samples' codes are drawn from, a name in ``SAMPLERS`` or ``normal``;
            empty where no samples are compared.
    """

    result: Result
    value: float
    reach: float
    sampler: str = ""

    @property
    def name(self) -> str:
        """The model, and the sampler where it is not N(0, I): ``Autoencoder 10, mixture``."""
        return name_of(self.result.cell, self.sampler)

    @property
    def text(self) -> str:
        """``10.27 ± 0.84``."""
        return number(self.value, self.reach)


@dataclass(frozen=True)
class Verdict:
    """The best model of a run for one purpose.

    Args:
        purpose: a name in ``LABELS``, which says what is compared.
        score: of the best model.
        reason: why it is best, as a sentence.
        caution: what it is not good for all the same, as a sentence; empty if nothing is known.
    """

    purpose: str
    score: Score
    reason: str
    caution: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What ``leaderboard.json`` holds of it."""
        score = self.score
        return {
            "purpose": self.purpose,
            **score.result.cell.identity,
            "sampler": score.sampler,
            "value": score.value,
            "half_width": score.reach,
            "reason": self.reason,
            "caution": self.caution,
        }


def name_of(cell: Cell, sampler: str) -> str:
    """A model with the sampler that its codes are drawn from, where there is one."""
    return f"{cell.title}, {SAMPLER_TITLES[sampler]}" if sampler else cell.title


def number(value: float, reach: float) -> str:
    """A score as people read it: ``10.27 ± 0.84``."""
    text = format_metric("", value)
    return f"{text} ± {format_spread('', value, reach)}" if reach else text


def find_verdicts(
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
) -> list[Verdict]:
    """The best reconstruction, the best samples and the best compromise of a run's models.

    - Reconstruction: the lowest mean squared error.
    - Samples: the lowest Fréchet distance over all models and all samplers that were measured.
    - Compromise: the lowest mean of two Fréchet distances, of the reconstructions and of the
      samples of the model's best sampler. Both are measured in the judge's features, so neither
      needs a weight.

    All three are of the test split. Of models trained with several seeds the mean counts.

    Args:
        results: the run's models.
        references: what real images, a Gaussian and noise score by the same judge.
        judge: content of the judge's ``model.json``.

    Returns:
        In this order; without those that no complete model has the metrics for.
    """
    complete = [one for one in over_seeds(results) if one.status == Status.COMPLETE]
    scores = {
        "reconstruction": _scores(complete, ERROR),
        "samples": [score for one in complete if (score := best_samples(one))],
        "compromise": [score for one in complete if (score := _compromise(one))],
    }
    gaussian = (references or {}).get("pixel_gaussian", {}).get("metrics", {}).get(DISTANCE)
    accuracy = (judge or {}).get("metrics", {}).get("test_accuracy")
    return [_verdict(purpose, own, gaussian, accuracy) for purpose, own in scores.items() if own]


def _verdict(
    purpose: str, scores: Sequence[Score], gaussian: float | None, accuracy: float | None
) -> Verdict:
    first, *others = sorted(scores, key=lambda score: score.value)
    reason = f"It has the lowest {LABELS[purpose]}"
    if purpose == "compromise":
        drawn_name = metric_of_sampler(DISTANCE, first.sampler)
        rebuilt, drawn = (
            format_metric(name, first.result.metrics[name])
            for name in (REBUILT_DISTANCE, drawn_name)
        )
        reason += f" ({rebuilt} for its reconstructions, {drawn} for its samples)"
    if others:
        second = others[0]
        reason += f" of the {len(scores)} {AMONG[purpose]}. {second.name} "
        apart = second.value - first.value > math.hypot(first.reach, second.reach)
        reason += f"comes second with {second.text}" if apart else f"may be as good: {second.text}"
    cautions = " ".join(_cautions(purpose, first, gaussian, accuracy))
    return Verdict(purpose, first, f"{reason}.", cautions)


def _cautions(
    purpose: str, score: Score, gaussian: float | None, accuracy: float | None
) -> Iterator[str]:
    """What a best model is not good for all the same, in sentences."""
    metrics = score.result.metrics
    pca = metrics.get("pca_mean_squared_error")
    if purpose == "reconstruction":
        if pca is not None and pca < score.value:
            size = counted(score.result.cell.latent_size, "component")
            yield f"A PCA with {size} rebuilds images better ({format_metric('', pca)})."
        return
    if purpose == "samples" and metrics.get(metric_of_sampler(CLASSES, score.sampler)) == 1:
        yield "All its samples are of one class."
    if purpose == "samples" and gaussian is not None and gaussian < score.value:
        yield f"A Gaussian fitted to the pixels does better ({format_metric('', gaussian)})."
    if accuracy is not None and accuracy < SURE_JUDGE:
        yield f"The judge gets {accuracy:.0%} of the test images right, so distances say little."


def best_samples(result: Result) -> Score | None:
    """The Fréchet distance of a model's samples from the sampler with the lowest one."""
    sampler = best_sampler(result.metrics)
    return _scores([result], metric_of_sampler(DISTANCE, sampler), sampler)[0] if sampler else None


def _scores(results: Sequence[Result], name: str, sampler: str = "") -> list[Score]:
    scores = []
    for result in results:
        value = result.metrics.get(name)
        if value is not None:
            low, high = result.intervals.get(name, (0.0, 0.0))
            scores.append(Score(result, float(value), (high - low) / 2, sampler))
    return scores


def _compromise(result: Result) -> Score | None:
    rebuilt, drawn = _scores([result], REBUILT_DISTANCE), best_samples(result)
    if not rebuilt or drawn is None:
        return None
    reach = math.hypot(rebuilt[0].reach, drawn.reach) / 2
    return Score(result, (rebuilt[0].value + drawn.value) / 2, reach, drawn.sampler)
