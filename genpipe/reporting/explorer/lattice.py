"""Images decoded all over planes of a latent space: what the latent explorer shows.

The page blends the images of a lattice where the pointer is, so it needs no network of its own and
works for every family, size and colour. How far a blend is from the decoder is measured and shown.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe.metrics.neighbours import radii
from genpipe.principal_components import PrincipalComponents
from genpipe.reporting.images import CLASS_COLOURS, grid
from genpipe.training.saved import SavedModel

# Images along a side of the lattice, and the quality they are compressed at. In the demo's cells a
# blend is 0.7% to 1.4% of a pixel's range off the decoder; a plane takes 45 to 90 kB.
SIDE = 20
QUALITY = 60
# Codes to show: in a latent space that is a plane itself, and where each plane holds their places.
MOST_CODES = 2000
FEW_CODES = 600
# Planes through three codes, beside that of the principal components.
TRIPLES = 2
PROBES = 256


@dataclass(frozen=True)
class Plane:
    """A plane of a latent space: code = origin + (across, up) @ directions.

    Attributes:
        name: what people choose it by.
        origin: (latent_size,) float.
        directions: (2, latent_size) float, orthonormal, but for a row of zeros at latent size 1,
            which makes a plane of a line.
    """

    name: str
    origin: np.ndarray
    directions: np.ndarray

    def places(self, codes: np.ndarray) -> np.ndarray:
        """Where (n, latent_size) codes project to, and how far they lie off the plane: (n, 3)."""
        offsets = codes - self.origin
        flat = offsets @ self.directions.T
        squares = np.square(offsets).sum(axis=1) - np.square(flat).sum(axis=1)
        return np.column_stack([flat, np.sqrt(np.clip(squares, 0, None))])

    def codes(self, places: np.ndarray) -> np.ndarray:
        """(n, 2) places to (n, latent_size) float32 codes."""
        codes: np.ndarray = self.origin + places @ self.directions
        return codes.astype(np.float32)


def decode_planes(
    saved: SavedModel,
    class_names: Sequence[str],
    codes: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Decode the planes of one cell.

    Args:
        saved: a complete model.
        class_names: of the data set.
        codes: (n, latent_size) float, of test images; None for a family without an encoder, which
            is shown with draws from N(0, I) instead.
        labels: (n,) class of each code.

    Returns:
        What ``explorer.js`` reads, ready for JSON: the cell, the labels of its codes, ``apart``,
        the distance beyond which a point is in a hole between them, and its ``planes``. Each plane
        has the ``points`` of the codes, (across, up, distance off the plane); the square it shows,
        by its ``centre`` and ``reach``; ``zero``, the place of N(0, I)'s mean; the lattice as a
        WebP ``picture`` in base64; and as ``error`` the mean absolute difference, in [0, 1], of a
        blend and what the decoder makes of the same place.

    Raises:
        InputError: a file of the model is not there, or not the one that was saved.
    """
    size = saved.cell.latent_size
    prior = saved.cell.family.follows_prior
    if codes is None:
        shown = np.random.default_rng(0).standard_normal((FEW_CODES, size))
    else:
        shown = codes[: MOST_CODES if size <= 2 else FEW_CODES].astype(np.float64)
    kinds = None if labels is None else labels[: len(shown)]
    typical = _typical(shown, kinds, class_names)
    planes = [_decoded(saved, plane, shown, prior) for plane in _planes(size, codes, typical)]
    return {
        "title": saved.cell.title,
        "cell": saved.cell.name,
        "latent_size": size,
        "classes": list(class_names),
        "colours": CLASS_COLOURS,
        "labels": None if kinds is None else kinds.tolist(),
        "prior": prior,
        "apart": float(np.sqrt(np.percentile(radii(shown, 1)[0], 99))),
        "side": SIDE,
        "planes": planes,
    }


def _typical(
    codes: np.ndarray, labels: np.ndarray | None, class_names: Sequence[str]
) -> list[tuple[str, np.ndarray]]:
    """Codes to lay planes through, with their names: the one nearest the mean of each class."""
    if labels is None:
        return [(f"draw {number}", code) for number, code in enumerate(codes[: 3 * TRIPLES], 1)]
    found = []
    for label, name in enumerate(class_names):
        own = codes[labels == label]
        if len(own):
            distances = np.square(own - own.mean(axis=0)).sum(axis=1)
            found.append((name, own[distances.argmin()]))
    return found


def _planes(
    size: int, codes: np.ndarray | None, typical: Sequence[tuple[str, np.ndarray]]
) -> Iterator[Plane]:
    """The latent space itself up to size 2, else planes that cut through it."""
    if size <= 2:
        yield Plane("the latent space", np.zeros(size), np.eye(2, size))
        return
    if codes is not None:
        components = PrincipalComponents.fit(codes)
        share = components.shares[:2].sum()
        name = f"principal components 1 and 2: {share:.0%} of the variance"
        yield Plane(name, components.mean, components.directions[:, :2].T)
    for first in range(0, min(len(typical) - 2, 3 * TRIPLES), 3):
        names, corners = zip(*typical[first : first + 3], strict=True)
        middle = np.mean(corners, axis=0)
        _, _, directions = np.linalg.svd(np.array(corners) - middle, full_matrices=False)
        yield Plane(f"through {names[0]}, {names[1]} and {names[2]}", middle, directions[:2])


def _decoded(saved: SavedModel, plane: Plane, codes: np.ndarray, prior: bool) -> dict[str, Any]:
    points = np.round(plane.places(codes), 3)
    zero = plane.places(np.zeros((1, codes.shape[1])))[0]
    centre, reach = _square(points, zero if prior else None)
    # The middles of SIDE x SIDE tiles, from the top left on.
    steps = (2 * np.arange(SIDE) + 1) / SIDE - 1
    across, down = (axis.ravel() for axis in np.meshgrid(steps, steps))

    def decode(places: np.ndarray) -> np.ndarray:
        return saved.decode(plane.codes(centre + reach * places))

    content = _compressed(grid(decode(np.column_stack([across, -down])), SIDE, gap=0))
    places = np.random.default_rng(0).uniform(-1, 1, (PROBES, 2))
    decoded = decode(places)
    blended = _blend(content, places, decoded.shape[1:])
    return {
        "name": plane.name,
        "points": points.tolist(),
        "zero": zero.tolist(),
        "centre": centre.tolist(),
        "reach": reach,
        "picture": base64.b64encode(content).decode("ascii"),
        "error": float(np.abs(blended - decoded).mean() / 255),
    }


def _square(points: np.ndarray, prior: np.ndarray | None) -> tuple[np.ndarray, float]:
    """The centre of the square to show, and half its side; the axes are to scale.

    It holds 99% of the points; about ``prior``, the place of N(0, I)'s mean, two standard
    deviations too. A plane through three codes is shown around these.
    """
    corners = points[points[:, 2] == 0]
    few = 0 < len(corners) <= 3 < len(points)
    low, high = np.percentile(corners[:, :2] if few else points[:, :2], [0.5, 99.5], axis=0)
    centre = (low + high) / 2
    reach = max(0.01, (0.75 if few else 0.55) * (high - low).max())
    if prior is not None and not few:
        reach = max(reach, 2.2 + np.abs(prior[:2] - centre).max())
    return centre, float(reach)


def _compressed(picture: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=QUALITY, method=4, use_sharp_yuv=True)
    return content.getvalue()


def _blend(content: bytes, places: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images at (n, 2) places in [-1, 1], as the page blends them: (n, *shape) float in [0, 255].

    Bilinear, between the four images of the lattice around the place.
    """
    from PIL import Image

    height, width, channels = shape
    with Image.open(io.BytesIO(content)) as image:
        stored = np.asarray(image.convert("RGB"))[..., :channels].astype(np.float64)
    images = stored.reshape(SIDE, height, SIDE, width, channels).swapaxes(1, 2)
    columns, rows = np.clip((1 + places * [1, -1]) / 2 * SIDE - 0.5, 0, SIDE - 1).T
    left, top = (np.minimum(line.astype(int), SIDE - 2) for line in (columns, rows))
    blended = np.zeros((len(places), *shape))
    for right in (0, 1):
        for below in (0, 1):
            share = np.abs(1 - right - (columns - left)) * np.abs(1 - below - (rows - top))
            blended += share[:, None, None, None] * images[top + below, left + right]
    return blended
