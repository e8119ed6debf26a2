"""A KFP output artifact, for tests that call a step."""

from __future__ import annotations

from pathlib import Path


class Output:
    """The artifact.

    Args:
        path: of its file or folder.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.uri = str(path), path.as_uri()
        self.metadata: dict[str, object] = {}
