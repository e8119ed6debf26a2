"""The code that a step runs: all that its adapter imports, and what that imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("genpipe", "components")
RUNTIME = ("keras", "kfp", "numpy", "onnxruntime", "tensorflow", "tensorflow-datasets", "wandb")


@cache
def source_digest(step: str) -> str:
    """Digest of the code that a step runs, the files that lie beside it, and the libraries.

    Its image's name holds it, so a step is taken from the cache if none of that has changed.
    """
    digest = hashlib.sha256()
    for file in sorted(source_files(step)):
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    for library in RUNTIME:
        digest.update(f"{library} {importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:12]


def source_files(step: str) -> set[Path]:
    """The modules that a step imports, at any time, and the files beside them that they name."""
    wanted = [f"components.{step.partition('_')[0]}.component"]
    found: set[Path] = set()
    while wanted:
        file = _file(wanted.pop())
        if file and file not in found:
            text = file.read_text(encoding="utf-8")
            found |= {file, *(one for one in file.parent.glob("*.*") if f'"{one.name}"' in text)}
            wanted += _imports(text)
    return found


@cache
def _imports(text: str) -> set[str]:
    """Every module of ours that a source names, with the packages that importing it runs."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in PACKAGES:
                found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return found


def _file(module: str) -> Path | None:
    """Where a module lies; none of a name that is something within one."""
    path = ROOT.joinpath(*module.split("."))
    return next(
        (one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None
    )
