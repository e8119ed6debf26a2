"""Packs a trained decoder so small that a page can hold it and run it.

A network of 400,000 to 900,000 weights, 1.6 to 3.6 MB, becomes 60 to 500 kB of text, in three
steps:

- It reads *coordinates*: a code's along chosen directions of the latent space. The directions and
  the point they start from are multiplied into its first layer.
- The last layer of autoencoder and VAE, 512 x 784, becomes a product of two thin matrices. Of all
  products of that rank it is the one nearest to the layer on hidden activations as they occur, not
  on the matrix itself (a weighted low-rank approximation: the truncated singular value
  decomposition of ``C^(1/2) W``, with the activations' second moments ``C``).
- Each row of a matrix is rounded to a few levels of its own scale, and the levels are coded by
  Huffman.

What that costs is measured against the network itself and told with the pack.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe.reporting.images import CLASS_COLOURS
from genpipe.training.saved import SavedModel

# Ranks to try, and the error that is small enough: root mean square over the pixels, in [0, 1].
RANKS = range(16, 129, 16)
SMALL_ERROR = 0.02
# Levels to each side of 0. The generator's convolutions are most of its pack: with 7 levels its
# pixels err by 0.008 to 0.011 on average (with 127 by 0.0005, at twice the size).
FINE, MIDDLE, COARSE = 32767, 127, 7
# Up to here the first layer, and the codes, are small enough to keep finely rounded.
SMALL_LATENT_SIZE = 16
# More of a larger latent space is not explored: what its first principal directions leave out.
MOST_DIRECTIONS = 256
DRAWS = 400
LATTICE = 24
# Layers of the networks that explorer.js knows, as Keras names them: ``build_decoder``, and the
# DCGAN's generator.
DENSE = {"dense", "dense_1"}
CONVOLVED = {
    "dense",
    *("fused_batch_normalization", "fused_batch_normalization_1", "fused_batch_normalization_2"),
    *("upsampled_conv2d", "upsampled_conv2d_1", "one_channel_conv2d"),
}


@dataclass(frozen=True)
class Frame:
    """Coordinates of a latent space: code = origin + coordinates @ directions.

    Attributes:
        origin: (latent_size,) float.
        directions: (k, latent_size) float, k at most 256; orthonormal, but for a row of zeros at
            latent size 1, which makes a plane of a line.
        names: of the directions.
    """

    origin: np.ndarray
    directions: np.ndarray
    names: Sequence[str]

    def coordinates(self, codes: np.ndarray) -> np.ndarray:
        """(n, latent_size) codes to (n, k)."""
        found: np.ndarray = (codes - self.origin) @ self.directions.T
        return found

    def codes(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, k) coordinates to (n, latent_size) float32 codes."""
        codes: np.ndarray = self.origin + coordinates @ self.directions
        return codes.astype(np.float32)


class Bundle:
    """Arrays by name, as one text that a page holds."""

    def __init__(self) -> None:
        self._arrays: list[tuple[str, str, list[int]]] = []
        self._bytes: list[bytes] = []

    def plain(self, name: str, values: np.ndarray) -> None:
        """Add an array as it is: float32, uint8, int8 or int16."""
        self._arrays.append((name, values.dtype.name, list(values.shape)))
        self._bytes.append(values.astype(values.dtype.newbyteorder("<")).tobytes())

    def rounded(self, name: str, rows: np.ndarray, levels: int) -> np.ndarray:
        """Add a matrix with each row rounded to ``levels`` to each side of 0.

        Returns:
            The matrix that is read back, float32.
        """
        scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / levels, 1e-12)
        scales = scales.astype(np.float32)
        numbers = np.rint(rows / scales).astype(np.int8 if levels <= 127 else np.int16)
        self.plain(name, numbers)
        self.plain(f"{name} scales", scales[:, 0])
        return numbers.astype(np.float32) * scales

    def encode(self) -> dict[str, Any]:
        """``arrays``, the (name, type, shape) of each in order, and ``data``, their bytes.

        The bytes are compressed by Huffman's code alone: rounded weights do not repeat, and the
        search for repetitions only makes them larger. Then base64.
        """
        packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
        # Flushed after each array, for every array has its own frequencies.
        parts = [packer.compress(part) + packer.flush(zlib.Z_BLOCK) for part in self._bytes]
        packed = b"".join([*parts, packer.flush()])
        return {"arrays": self._arrays, "data": base64.b64encode(packed).decode("ascii")}


def can_pack(saved: SavedModel) -> bool:
    """Whether ``explorer.js`` knows how to run the network that decodes a model's codes."""
    return set(saved.weights(saved.cell.family.decoder)) in (DENSE, CONVOLVED)


def pack_cell(
    saved: SavedModel,
    class_names: Sequence[str],
    codes: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Pack one cell's decoder, or generator, with the codes to show.

    Args:
        saved: a complete model, of which ``can_pack`` is true.
        class_names: of the data set.
        codes: (n, latent_size) float, of test images; None for a family that encodes nothing and
            is shown with draws from N(0, I) instead.
        labels: (n,) class of each code.

    Returns:
        What ``explorer.js`` reads, ready for JSON: the cell, the ``directions``, the arrays of
        points and network (``Bundle.encode``), and as ``error`` the mean absolute difference, in
        [0, 1], of the packed network's pixels and the model's own: at the ``points``, and over the
        ``plane`` of the first two directions.

    Raises:
        InputError: a file of the model is not there, or not the one that was saved.
    """
    size = saved.cell.latent_size
    family = saved.cell.family
    weights = saved.weights(family.decoder)
    is_convolved = set(weights) == CONVOLVED
    if codes is None:
        frame = _frame_of_generator(weights["dense"][0])
        codes = np.random.default_rng(0).standard_normal((DRAWS, size))
    else:
        frame = frame_of_codes(codes)
    shown = frame.coordinates(codes[: max(500, min(2000, 10_000 // size))])
    lattice = _lattice(shown)

    bundle = Bundle()
    points = _add_points(bundle, shown)
    if labels is not None:
        bundle.plain("labels", labels[: len(shown)].astype(np.uint8))

    def real(coordinates: np.ndarray) -> np.ndarray:
        images: np.ndarray = saved.run(family.decoder, frame.codes(coordinates))
        return saved.rescaling.to_unit(images).reshape(len(images), -1)

    if is_convolved:
        packed = _pack_generator(bundle, weights, frame)
        # A generator's images differ little in how far they err; more would take seconds.
        asked = {"points": points[:24], "plane": lattice[:: len(lattice) // 24]}
    else:
        seen = np.concatenate([frame.coordinates(codes[:4000]), np.repeat(lattice, 2, axis=0)])
        packed = _pack_decoder(bundle, weights, frame, seen, real(points), points)
        asked = {"points": points, "plane": lattice}
    return {
        "title": saved.cell.title,
        "cell": saved.cell.name,
        "family": saved.family,
        "latent_size": size,
        "classes": list(class_names),
        "colours": CLASS_COLOURS,
        "network": "generator" if is_convolved else "decoder",
        "prior": saved.cell.family.follows_prior,
        "names": list(frame.names),
        "zero": [float(value) for value in frame.coordinates(np.zeros((1, size)))[0]],
        "apart": _apart(points),
        "error": {
            name: float(np.abs(packed(where) - real(where)).mean()) for name, where in asked.items()
        },
        **bundle.encode(),
    }


def frame_of_codes(codes: np.ndarray) -> Frame:
    """The codes' own axes up to latent size 2, else their principal directions."""
    size = codes.shape[1]
    if size <= 2:
        return _plain_frame(size, "code unit")
    mean = codes.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(codes, rowvar=False, dtype=np.float64))
    shares = variances[::-1] / max(variances.sum(), 1e-12)
    names = [
        f"principal direction {number}: {share:.1%} of the variance"
        for number, share in enumerate(shares[:MOST_DIRECTIONS], 1)
    ]
    return Frame(mean, directions[:, ::-1].T[:MOST_DIRECTIONS], names)


def _frame_of_generator(kernel: np.ndarray) -> Frame:
    """The noise's own axes up to latent size 2, else those that move the first layer most.

    Noise from N(0, I) has no principal directions. These are the eigenvectors of the first layer's
    ``W W^T`` (Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs").

    Args:
        kernel: (latent_size, units) of the first layer.
    """
    size = len(kernel)
    if size <= 2:
        return _plain_frame(size, "noise unit")
    strengths, directions = np.linalg.eigh(kernel.astype(np.float64) @ kernel.T)
    shares = strengths[::-1] / max(strengths.sum(), 1e-12)
    names = [
        f"direction {number}: {share:.1%} of what the noise moves"
        for number, share in enumerate(shares[:MOST_DIRECTIONS], 1)
    ]
    return Frame(np.zeros(size), directions[:, ::-1].T[:MOST_DIRECTIONS], names)


def _plain_frame(size: int, name: str) -> Frame:
    directions = np.eye(2, size)
    names = [f"{name} 1", f"{name} 2" if size == 2 else "nothing (there is one unit)"]
    return Frame(np.zeros(size), directions, names)


def _lattice(coordinates: np.ndarray) -> np.ndarray:
    """Points all over the plane that is shown first, the other coordinates 0: (m, k)."""
    low, high = np.percentile(coordinates[:, :2], [0.5, 99.5], axis=0)
    across, up = (np.linspace(*ends, LATTICE) for ends in zip(low, high, strict=True))
    points = np.zeros((LATTICE**2, coordinates.shape[1]))
    points[:, :2] = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    return points


def _add_points(bundle: Bundle, coordinates: np.ndarray) -> np.ndarray:
    """Add the points a coordinate after the other; returns them as they are read back.

    One scale for all coordinates: those that hardly vary then take hardly any room.
    """
    size = coordinates.shape[1]
    levels = FINE if size <= SMALL_LATENT_SIZE else MIDDLE
    scale = np.float32(max(np.abs(coordinates).max() / levels, 1e-12))
    numbers = np.rint(coordinates.T / scale).astype(np.int16 if levels == FINE else np.int8)
    bundle.plain("points", numbers)
    bundle.plain("points scales", np.full(size, scale, np.float32))
    found: np.ndarray = numbers.T.astype(np.float32) * scale
    return found


def _apart(points: np.ndarray) -> float:
    """How far apart neighbours lie at most: the 99th percentile of the distance to the nearest."""
    squares = np.square(points).sum(axis=1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    return float(np.sqrt(np.percentile(np.clip(distances.min(axis=1), 0, None), 99)))


def _first_layer(kernel: np.ndarray, bias: np.ndarray, frame: Frame) -> np.ndarray:
    """The first layer over coordinates: a row for each direction, and the bias last."""
    kernel = kernel.astype(np.float64)
    return np.vstack([frame.directions @ kernel, frame.origin @ kernel + bias])


def _pack_decoder(
    bundle: Bundle,
    weights: Mapping[str, Sequence[np.ndarray]],
    frame: Frame,
    seen: np.ndarray,
    real: np.ndarray,
    points: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """Add the decoder of autoencoder and VAE; returns what is read back, as a function.

    Args:
        bundle: what gets the arrays.
        weights: of the decoder, by layer.
        frame: of the coordinates.
        seen: (m, k) coordinates that the last layer must do well at.
        real: (n, 784) the decoder's images at the points.
        points: (n, k) coordinates.
    """
    (kernel, bias), (last, last_bias) = weights["dense"], weights["dense_1"]
    levels = FINE if len(kernel) <= SMALL_LATENT_SIZE else MIDDLE
    first = bundle.rounded("first", _first_layer(kernel, bias, frame), levels)

    def hidden(coordinates: np.ndarray) -> np.ndarray:
        return np.maximum(coordinates @ first[:-1] + first[-1], 0)

    activations = hidden(seen)
    values, vectors = np.linalg.eigh(activations.T @ activations / len(activations))
    # Directions that no activation has are of no weight, but the root must have an inverse.
    roots = np.sqrt(np.clip(values, 1e-7 * max(values.max(), 1e-12), None))
    weighted = (vectors * roots).T @ last
    _, left = np.linalg.eigh(weighted @ weighted.T)
    left = left[:, ::-1]
    narrow, wide = (vectors / roots @ left).T, left.T @ weighted

    def rounded(rank: int, bundle: Bundle) -> Callable[[np.ndarray], np.ndarray]:
        down = bundle.rounded("narrow", narrow[:rank], MIDDLE)
        out = bundle.rounded("wide", wide[:rank], MIDDLE)
        # The sigmoid, by a function that does not overflow.
        return lambda x: (1 + np.tanh((hidden(x) @ down.T @ out + last_bias) / 2)) / 2

    few, expected = points[:500], real[:500]
    rank = next(
        (
            rank
            for rank in RANKS
            if rank < len(last)
            and np.square(rounded(rank, Bundle())(few) - expected).mean() < SMALL_ERROR**2
        ),
        min(RANKS[-1], len(last)),
    )
    packed = rounded(rank, bundle)
    bundle.plain("last bias", last_bias.astype(np.float32))
    return packed


def _pack_generator(
    bundle: Bundle, weights: Mapping[str, Sequence[np.ndarray]], frame: Frame
) -> Callable[[np.ndarray], np.ndarray]:
    """Add the DCGAN's generator; returns what is read back, as a function.

    Each batch normalization is a factor and a shift of a channel. The factor goes into the kernel
    behind it. The shift can't become a bias, for it is not there beyond the border: it is added to
    what the kernel reads.
    """
    levels = COARSE if len(weights["dense"][0]) > SMALL_LATENT_SIZE else MIDDLE
    kernel, bias = weights["dense"]
    first = bundle.rounded("first", _first_layer(kernel, bias, frame), levels)
    kernels, shifts, biases = [], [], []
    for number, (norm, conv) in enumerate(
        [
            ("fused_batch_normalization", "upsampled_conv2d"),
            ("fused_batch_normalization_1", "upsampled_conv2d_1"),
            ("fused_batch_normalization_2", "one_channel_conv2d"),
        ],
        1,
    ):
        scale, offset, mean, variance = weights[norm]
        factor = scale / np.sqrt(variance + 1e-3)  # Keras's epsilon
        # A factor of 0 would leave no way to add the shift before it.
        factor = np.where(np.abs(factor) < 1e-6, 1e-6, factor)
        kernel, bias = weights[conv]
        rows = (kernel * factor[:, None]).reshape(-1, kernel.shape[-1]).T
        rows = bundle.rounded(f"kernel {number}", rows, COARSE if number < 3 else MIDDLE)
        shift = (offset / factor - mean).astype(np.float32)
        bundle.plain(f"shift {number}", shift)
        bundle.plain(f"bias {number}", bias.astype(np.float32))
        kernels.append(rows.T.reshape(kernel.shape))
        shifts.append(shift)
        biases.append(bias)

    def run(coordinates: np.ndarray) -> np.ndarray:
        rows = np.maximum(coordinates.astype(np.float32) @ first[:-1] + first[-1], 0)
        images = rows.reshape(len(rows), 7, 7, -1)
        for number, (kernel, shift, bias) in enumerate(zip(kernels, shifts, biases, strict=True)):
            images = images + shift
            if number < 2:
                images = images.repeat(2, axis=1).repeat(2, axis=2)
            images = _convolve(images, kernel) + bias
            images = np.maximum(images, 0) if number < 2 else np.tanh(images)
        return (images.reshape(len(images), -1) + 1) / 2

    return run


def _convolve(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve (n, height, width, c) by (3, 3, c, d) with zeros beyond the border."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    found = np.zeros((*images.shape[:3], kernel.shape[-1]), np.float32)
    for row in range(3):
        for column in range(3):
            found += padded[:, row : row + height, column : column + width] @ kernel[row, column]
    return found
