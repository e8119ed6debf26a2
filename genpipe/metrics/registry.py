"""What every metric is called, what it is measured in, and which way is better.

The report's legend, the terminal and the README read it here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genpipe.metrics.samplers import SAMPLERS, metric_of_sampler
from genpipe.tracking.progress import format_seconds

# Words that keep their capital within a sentence.
NAMES = ("Fréchet",)


@dataclass(frozen=True)
class Metric:
    """What a metric of the leaderboard is.

    Args:
        label: what tables and legends call it.
        unit: what it is measured in; empty for a plain number.
        better: ``lower``, ``higher``, or empty where neither is better in itself.
        meaning: what it is, in a sentence.
        reference: where it was proposed; empty for what needs no paper.
    """

    label: str
    unit: str
    better: str
    meaning: str
    reference: str = ""

    @property
    def within(self) -> str:
        """What it is called within a sentence."""
        first = self.label.partition(" ")[0]
        named = first in NAMES or first.isupper()
        return self.label if named else self.label[0].lower() + self.label[1:]

    @property
    def about(self) -> str:
        """What it is, and where it was proposed."""
        return f"{self.meaning} {self.reference}." if self.reference else self.meaning


_FIGURES: dict[str, Metric] = {
    "mean_squared_error": Metric(
        "Mean squared error",
        "",
        "lower",
        "Mean squared difference of a test image's pixels, in [0, 1], and their reconstruction.",
    ),
    "pca_mean_squared_error": Metric(
        "PCA mean squared error",
        "",
        "lower",
        "The same error of a principal component analysis with as many components as the model "
        "has latent units: what a linear model of this size achieves.",
        "Pearson 1901; Bourlard and Kamp 1988",
    ),
    "binary_cross_entropy": Metric(
        "Binary cross-entropy",
        "nats",
        "lower",
        "Mean cross-entropy of a pixel of the test images and its reconstruction.",
    ),
    "reconstruction_loss": Metric(
        "Reconstruction loss",
        "",
        "lower",
        "The first loss term of a VAE: the mean squared error times the number of pixels (784 of "
        "MNIST), with sampled codes.",
    ),
    "kl_divergence": Metric(
        "KL divergence",
        "nats",
        "",
        "The second loss term of a VAE: how far the encoder's distribution of a code lies from "
        "N(0, I). Near 0 the code carries nothing.",
        "Kingma and Welling 2013, arXiv:1312.6114, appendix B",
    ),
    "total_loss": Metric(
        "Negative ELBO at beta 1",
        "",
        "lower",
        "Reconstruction loss plus KL divergence, both with weight 1: minus the ELBO, less a "
        "constant. It is what a VAE with beta = 1 minimises, and measures every other beta alike.",
        "Kingma and Welling 2013, arXiv:1312.6114",
    ),
    "training_objective": Metric(
        "Training objective",
        "",
        "lower",
        "Reconstruction loss plus beta times KL divergence: what the VAE minimises. It compares "
        "only models of one beta; at beta = 1 it is the negative ELBO.",
        "Higgins et al. 2017, beta-VAE",
    ),
    "elbo": Metric(
        "ELBO",
        "nats",
        "higher",
        "The evidence lower bound on the log-likelihood of a test image.",
        "Kingma and Welling 2013, arXiv:1312.6114",
    ),
    "importance_weighted_bound": Metric(
        "Importance-weighted bound, k = 50",
        "nats",
        "higher",
        "A tighter lower bound on the same, from 50 codes per image where the ELBO uses one; how "
        "much tighter is measured on 2,500 test images.",
        "Burda et al. 2015, arXiv:1509.00519",
    ),
    "active_units": Metric(
        "Active units",
        "units",
        "",
        "Latent units whose code changes with the image.",
        "Burda et al. 2015, arXiv:1509.00519, section 5.2",
    ),
    "dead_units": Metric(
        "Dead units",
        "units",
        "lower",
        "Latent units that are 0 for every test image.",
    ),
    "revived_units": Metric(
        "Revived units",
        "units",
        "",
        "Latent units that died early in training and were started afresh.",
    ),
    "code_mean_distance": Metric(
        "Code mean distance",
        "",
        "lower",
        "Distance of the mean code from 0 (N(0, I): 0).",
    ),
    "code_spread": Metric(
        "Code spread",
        "",
        "",
        "Root mean square distance of a code from the mean code; N(0, I) expects the root of the "
        "latent size.",
    ),
    "smallest_class_area_share": Metric(
        "Smallest class area",
        "share",
        "higher",
        "Of the grid squares of the latent plane that contain codes (32 x 32, of equal mass under "
        "the Gaussian fitted to the codes), the share of the class with the fewest. Latent size 2 "
        "only.",
    ),
    "largest_class_area_share": Metric(
        "Largest class area",
        "share",
        "lower",
        "The same for the class with the most.",
    ),
    "gap_share": Metric(
        "Gaps in the plane",
        "share",
        "lower",
        "How often a draw from the Gaussian fitted to the codes falls in a grid square without "
        "codes (0% if the codes are Gaussian): there the decoder has to extrapolate. Latent size 2 "
        "only.",
    ),
    "neighbour_accuracy": Metric(
        "Accuracy of neighbours",
        "share",
        "higher",
        "Accuracy of a 5-nearest-neighbour classifier on the latent codes (10,000 training codes, "
        "evaluated on the test split): how well the codes separate the classes.",
        "Cover and Hart 1967",
    ),
    "discriminator_accuracy_real": Metric(
        "Discriminator accuracy, real",
        "share",
        "",
        "Share of test images that the discriminator takes for real. Near 50% it is guessing.",
    ),
    "discriminator_accuracy_generated": Metric(
        "Discriminator accuracy, generated",
        "share",
        "",
        "Share of generated images that the discriminator recognises as generated.",
    ),
    "discriminator_loss": Metric(
        "Discriminator loss",
        "nats",
        "",
        "Binary cross-entropy of the discriminator on test images and generated ones.",
        "Goodfellow et al. 2014, arXiv:1406.2661",
    ),
    "generator_loss": Metric(
        "Generator loss",
        "nats",
        "",
        "Binary cross-entropy of generated images against the answer that they are real.",
        "Goodfellow et al. 2014, arXiv:1406.2661, the non-saturating form",
    ),
    "sample_variance_ratio": Metric(
        "Sample variance ratio",
        "",
        "",
        "Variance of generated images over that of test images. Far below 1 the generator makes "
        "much the same image again and again.",
    ),
    "mean_confidence": Metric(
        "Mean confidence",
        "share",
        "higher",
        "The judge's mean probability of the class that it sees in a sample drawn from N(0, I).",
    ),
    "classes_covered": Metric(
        "Classes covered",
        "classes",
        "higher",
        "How many of the classes the judge finds among the samples, each with at least a tenth of "
        "an even share (1% of ten classes).",
    ),
    "largest_class_share": Metric(
        "Largest class share",
        "share",
        "lower",
        "Share of the samples that fall to the most frequent class; of ten classes 10% is even.",
    ),
    "class_entropy": Metric(
        "Entropy of classes",
        "nats",
        "higher",
        "Entropy of the shares of the classes among the samples; of ten classes 2.30 is even.",
    ),
    "frechet_distance": Metric(
        "Fréchet distance",
        "",
        "lower",
        "Fréchet distance between samples and test images, as FID, but in the judge's features. "
        "Comparable only with distances by the same judge, of as many "
        "samples.",
        "Heusel et al. 2017, arXiv:1706.08500",
    ),
    "precision": Metric(
        "Precision",
        "share",
        "higher",
        "Share of the samples that fall within the k-NN ball (k = 3) of at least one test image, "
        "in the judge's normalised features: how realistic the samples are.",
        "Kynkäänniemi et al. 2019, arXiv:1904.06991",
    ),
    "recall": Metric(
        "Recall",
        "share",
        "higher",
        "Share of the test images that fall within the k-NN ball (k = 3) of at least one sample: "
        "how much of the data's variety is generated. Outlying samples "
        "raise it; coverage is not fooled by them.",
        "Kynkäänniemi et al. 2019, arXiv:1904.06991",
    ),
    "density": Metric(
        "Density",
        "",
        "higher",
        "Average number of test images' k-NN balls (k = 5) that contain a sample, divided by k. "
        "Real images score about 1; above 1, samples concentrate in dense regions.",
        "Naeem et al. 2020, arXiv:2002.09797",
    ),
    "coverage": Metric(
        "Coverage",
        "share",
        "higher",
        "Share of the test images with at least one sample within their k-NN ball (k = 5). An "
        "equally large set of real images scores about 95%.",
        "Naeem et al. 2020, arXiv:2002.09797",
    ),
    "training_closeness": Metric(
        "Closeness to training images",
        "",
        "",
        "Probability that a generated sample is closer (pixel distance) to its nearest training "
        "image than a test image is to its own. 0.5: as close as unseen real images; 1: always "
        "closer. A high value can mean memorisation, but blurry samples raise it too.",
        "After Meehan et al. 2020, arXiv:2004.05675",
    ),
    "nearest_is_training_share": Metric(
        "Nearest image is a training one",
        "share",
        "",
        "Share of the samples whose nearest real image is in the training split rather than the "
        "test split. Without copying, this is about the training split's share of those images "
        "(85% for MNIST). Blur does not affect it.",
        "After Meehan et al. 2020, arXiv:2004.05675",
    ),
    "duplicate_share": Metric(
        "Duplicates",
        "share",
        "lower",
        "Share of the samples that have a near-duplicate among the samples. The distance threshold "
        "is the one below which 1% of the test images have another test image.",
        "After Arora and Zhang 2017, arXiv:1706.08224",
    ),
    "reconstruction_frechet_distance": Metric(
        "Fréchet distance, reconstructions",
        "",
        "lower",
        "Fréchet distance of the reconstructed test images: what is lost in code and decoder, "
        "however codes are drawn.",
        "Heusel et al. 2017, arXiv:1706.08500",
    ),
    "train_seconds": Metric("Training time", "s", "lower", "Wall-clock time of the training."),
    "images_per_second": Metric(
        "Images per second", "images/s", "higher", "Training images seen in a second."
    ),
    "images_seen": Metric(
        "Images seen", "images", "", "Training images seen, counting every repetition."
    ),
    "epochs": Metric("Epochs", "epochs", "", "Passes over the training images."),
    "steps": Metric("Steps", "steps", "", "Batches learnt from."),
}

_OF_SAMPLERS = (
    *("mean_confidence", "classes_covered", "largest_class_share", "class_entropy"),
    *("frechet_distance", "precision", "recall", "density", "coverage"),
)


def _of_sampler(sampler: str) -> dict[str, Metric]:
    """The metrics of samples drawn by another sampler."""
    title, source = SAMPLERS[sampler]
    named = {}
    for name in _OF_SAMPLERS:
        plain = _FIGURES[name]
        meaning = f"{plain.label} of samples drawn from {source}."
        named[metric_of_sampler(name, sampler)] = replace(
            plain, label=f"{plain.label}, {title}", meaning=meaning
        )
    return named


def _of_validation(name: str) -> Metric:
    """A metric by which the best model of a family is chosen, so on images that report nothing."""
    plain = _FIGURES[name]
    return replace(
        plain,
        label=f"{plain.label}, validation split",
        meaning=f"{plain.label} on the validation split. It decides the best latent size of a "
        f"family{_COMPARED.get(name, ' and whether the model replaces the champion')}, so that the "
        "test split is used only for reporting.",
    )


# A family whose champions are compared by another metric than decides its best latent size.
_COMPARED = {
    "total_loss": " (champions are compared by the ELBO on the same split, which is minus this "
    "loss, less a constant)"
}
_DECIDING = ("mean_squared_error", "total_loss", "frechet_distance")

METRICS: dict[str, Metric] = {
    **_FIGURES,
    **{f"validation_{name}": _of_validation(name) for name in _DECIDING},
    **{name: one for sampler in SAMPLERS for name, one in _of_sampler(sampler).items()},
}

_COUNTS = ("units", "classes", "images", "epochs", "steps")


def format_metric(name: str, value: float | int | None) -> str:
    """A metric as people read it: ``0.01234``, ``11.8%``, ``18``, ``3 min 20 s``.

    An empty string stands for a metric that is not there.
    """
    if value is None:
        return ""
    unit = METRICS[name].unit if name in METRICS else ""
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "s":
        return f"{value:.1f} s" if value < 10 else format_seconds(value)
    if unit in _COUNTS and not float(value).is_integer():  # the mean of several
        return f"{value:,.1f}"
    if unit == "images/s" or unit in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def format_spread(name: str, value: float, spread: float) -> str:
    """The half-width of an interval, or a standard deviation, with as many places as its metric.

    A very narrow one keeps one digit that is not 0.
    """
    if name in METRICS and METRICS[name].unit == "share":
        return format_metric(name, spread)
    text = f"{spread:.{2 if abs(value) >= 1 else 4}f}"
    return (
        text if float(text) else np.format_float_positional(spread, precision=1, fractional=False)
    )
