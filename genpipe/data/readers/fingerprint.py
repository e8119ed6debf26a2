"""What a place holds, without reading it: for a cache to know whether it changed."""

from __future__ import annotations

import hashlib

from genpipe import storage


def fingerprint(source: str) -> tuple[str, int]:
    """Digest the names of all files at a place, with what tells that one was changed.

    In a bucket that is the size and the checksum that the store keeps, and on this machine the
    size and the time of the last change.

    Args:
        source: a folder, a file, or a prefix in a bucket.

    Returns:
        The digest, and the number of files; an empty place has no file.

    Raises:
        StepError: it can't be read.
    """
    digest, count = hashlib.sha256(), 0
    for file in storage.scan(source):
        digest.update(repr((file.name, file.size, file.checksum, file.changed)).encode())
        count += 1
    if not count and storage.exists(source):  # a file by itself
        digest.update(storage.read_bytes(source))
        count = 1
    return f"sha256:{digest.hexdigest()}", count
