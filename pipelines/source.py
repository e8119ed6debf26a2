"""The code that a step runs: all that its adapter imports, and what that imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from genpipe.families.registry import family_entry_points

ROOT = Path(__file__).parent.parent
PACKAGES = ("genpipe", "components")
# Steps that see no family's models.
WITHOUT_MODELS = ("fingerprint", "ingest", "judge", "notify")
RUNTIME = (
    *("keras", "kfp", "numpy", "onnxruntime", "pillow", "tensorflow", "tensorflow-datasets"),
    "wandb",
)


@cache
def source_digest(step: str) -> str:
    """Digest of the code that a step runs, the files that lie beside it, and the libraries.

    Its image's name holds it, so a step is taken from the cache if none of that has changed.
    """
    digest = hashlib.sha256()
    for file in sorted(source_files(step)):
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    for name, content in _brought_families() if step not in WITHOUT_MODELS else ():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    for library in RUNTIME:
        digest.update(f"{library} {importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:12]


def source_files(step: str) -> set[Path]:
    """The modules that a step imports, at any time, and the files beside them that they name."""
    wanted = [f"components.{step}.component"]
    found: set[Path] = set()
    while wanted:
        file = _file(wanted.pop())
        if file and file not in found:
            text = file.read_text(encoding="utf-8")
            found |= {file, *(one for one in file.parent.glob("*.*") if f'"{one.name}"' in text)}
            wanted += _imports(text)
    return found


def _brought_families() -> Iterator[tuple[str, bytes]]:
    """The files of the families that other distributions bring: all that lies beside them."""
    for entry in family_entry_points():
        spec = find_spec(entry.module)
        if spec and spec.origin:
            module = Path(spec.origin)
            package = spec.parent if spec.parent else ""
            files = sorted(module.parent.glob("**/*.py")) if package else [module]
            for file in files:
                yield f"{entry.name} {file.relative_to(module.parent)}", file.read_bytes()


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
