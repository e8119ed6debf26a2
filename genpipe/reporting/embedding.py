"""The report's pictures as data: URIs, small enough for the page to stay within its limit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

# The KFP page fetches a report whole, so it stays below 2 MB; the rest of it is text and charts.
ALL_PICTURES_BYTES = 1_500_000
WIDEST = 720
MOST_PIXELS = 2**24
_LOSSY_STEPS = ((720, 85), (480, 80), (360, 70), (240, 55), (160, 40), (96, 20))


def embed_pictures(paths: Sequence[Path]) -> dict[Path, str]:
    """Turn picture files into data: URIs that fit a page together.

    Every picture may use an equal share of ``ALL_PICTURES_BYTES``, so the page's size is bounded
    whatever the number of cells. Within its share a picture is kept as it is; else it is
    compressed, then made smaller.

    Args:
        paths: the files, as often as the page shows them.

    Returns:
        The data: URI of each file that is there and is a picture.
    """
    there = [path for path in paths if path.is_file()]
    uris: dict[Path, str] = {}
    for path in dict.fromkeys(there):
        picture = read_picture(path)
        if picture is None:
            continue
        # base64 writes 4 characters for 3 bytes.
        limit = ALL_PICTURES_BYTES // len(there) * 3 // 4
        content = _encode(picture, path.stat().st_size, limit)
        uris[path] = "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
    return uris


def read_picture(path: Path) -> Image.Image | None:
    """A picture file in RGB, or RGBA where it is transparent; None where none can be shown.

    That is one that is missing, damaged or far too large, which must not cost the run its report.
    """
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height <= MOST_PIXELS:
                return picture.convert("RGBA" if picture.mode == "RGBA" else "RGB")
    except Exception:  # Pillow raises anything of a damaged file
        pass
    return None


def _encode(picture: Image.Image, size_of_file: int, limit: int) -> bytes:
    content = b""
    # Without loss it comes to about 0.7 of a PNG file; trying where that can't do is slow.
    if picture.width <= WIDEST and size_of_file <= 1.6 * limit:
        content = _webp(picture, lossless=True)
    for width, quality in _LOSSY_STEPS:
        if content and len(content) <= limit:
            break
        smaller = picture.copy()
        smaller.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
        content = _webp(smaller, quality=quality)
    return content


def _webp(picture: Image.Image, *, lossless: bool = False, quality: int = 80) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=lossless, quality=quality, method=2)
    return buffer.getvalue()
