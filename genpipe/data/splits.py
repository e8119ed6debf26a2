"""Which split an image belongs to: by a digest of its content, so that it never moves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

SPLITS = ("train", "validation", "test")
# MNIST's own proportions: 10,000 of 70,000 images, and 5,000 of the other 60,000.
TEST_SHARE = 1 / 7
VALIDATION_SHARE = 1 / 12
HALF = 32  # bits of a digest that decide on one split
RULE = (
    f"an image without a split of its own is in test with probability {TEST_SHARE:.4f}, else in "
    f"validation with probability {VALIDATION_SHARE:.4f}, by the BLAKE2b digest of its pixels"
)


def digests(images: np.ndarray) -> np.ndarray:
    """The BLAKE2b digest of each image of (n, height, width, channels) uint8, (n,) uint64."""
    found = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(found, ">u8").astype(np.uint64)


def divide(
    own: Mapping[str, np.ndarray], digest: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Divide images into ``train``, ``validation`` and ``test``.

    A split that the source has stays, but for images that an earlier split has too: those would
    be judged by what a model was trained on. Where the source has none, an image's digest decides
    alone, so that it stays where it is when others are added, and equal ones stay together.

    Args:
        own: places of images, (n,) int, by the split that the source has them in; ``train`` is
            divided where another is missing.
        digest: (n,) uint64 of every image: see ``digests``.
        labels: (n,) int of every image.

    Returns:
        The places of each split, in the order of their digests, so that the order of the source
        does not matter; and how many images were kept out of each split.
    """
    train = own["train"]
    splits, kept_out = {}, {}
    for split, share, bits in (
        ("test", TEST_SHARE, digest >> np.uint64(HALF)),
        ("validation", VALIDATION_SHARE, digest & np.uint64(2**HALF - 1)),
    ):
        if split not in own:
            chosen = bits[train] < share * 2**HALF
            splits[split], train = train[chosen], train[~chosen]
    earlier = digest[own["train"]]
    for split in SPLITS[1:]:
        if split in own:
            there = np.isin(digest[own[split]], earlier)
            splits[split], kept_out[split] = own[split][~there], int(there.sum())
            earlier = np.concatenate([earlier, digest[own[split]]])
    splits["train"] = train
    return {
        split: splits[split][np.lexsort((labels[splits[split]], digest[splits[split]]))]
        for split in SPLITS
    }, kept_out
