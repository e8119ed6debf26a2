"""Who may import what: the rules of the house, read from the files themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("genpipe", "components", "pipelines")
    for path in (ROOT / package).rglob("*.py")
)
STEPS = (
    *("fingerprint", "ingest", "judge", "train", "evaluate", "sample", "compare"),
    *("publish", "notify"),
)
# Of the library: each room imports from those before it, and from the modules in none. Cells are of
# families, so these come before all; their models read no data and log nothing.
ROOMS = (
    *("storage", "tracking", "data", "training", "sampling", "metrics"),
    *("registry", "reporting"),
)
# Of the packages: each imports from those before it.
PACKAGES = ("genpipe", "components", "pipelines")


def imports(file: str, *, top_only: bool = False) -> set[str]:
    """Every module a file imports, and every name it takes from one as if it were a module."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(module: str) -> set[str]:
    """The files that import a module or something below it."""
    return {
        file
        for file in FILES
        if any(name == module or name.startswith(f"{module}.") for name in imports(file))
    }


def test_the_files_are_found() -> None:
    assert {
        "genpipe/tracking/step.py",
        "components/train/train.py",
        "pipelines/cli/__init__.py",
    } <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_packages_and_rooms_import_one_way(file: str) -> None:
    def rank(module: str) -> tuple[int, int]:
        package, room, *_ = [*module.split("."), ""]
        return PACKAGES.index(package), ROOMS.index(room) if room in ROOMS else -1

    own = rank(file.removesuffix(".py").replace("/", "."))
    ours = {name for name in imports(file) if name.partition(".")[0] in PACKAGES}
    assert {name for name in ours if rank(name) > own} == set()


def test_the_command_is_above_all_else() -> None:
    assert all(file.startswith("pipelines/cli/") for file in importers("pipelines.cli"))
    assert all(file.startswith("pipelines/cli/") for file in importers("click"))


def test_only_adapters_and_pipelines_import_kfp() -> None:
    found = {file for file in importers("kfp") if not file.startswith("pipelines/")}

    assert found == {file for file in FILES if file.endswith("/component.py")}


def test_only_tracking_imports_wandb() -> None:
    found = importers("wandb")
    assert "genpipe/tracking/wandb.py" in found
    assert all(file.startswith("genpipe/tracking/") for file in found)


def test_only_storage_knows_the_stores() -> None:
    assert importers("google") == {"genpipe/storage/gcs.py"}
    for module in ("boto3", "botocore", "s3transfer"):
        assert importers(module) == {"genpipe/storage/s3.py"}
    assert importers("genpipe.storage.s3") == {"genpipe/storage/__init__.py"}


def test_the_rules_of_the_house_see_through_every_form_of_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import a.b as c\nfrom d import e\ndef f():\n    from g.h import i\n"
    (tmp_path / "file.py").write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)

    assert imports("file.py") == {"a.b", "d", "d.e", "g.h", "g.h.i"}
    assert imports("file.py", top_only=True) == {"a.b", "d", "d.e"}


@pytest.mark.parametrize("step", STEPS)
def test_no_step_imports_another_steps_folder(step: str) -> None:
    others = tuple(f"components.{other}" for other in STEPS if other != step)
    for file in (file for file in FILES if file.startswith(f"components/{step}/")):
        assert {name for name in imports(file) if name.startswith(others)} == set(), file


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith("/component.py")])
def test_at_its_top_an_adapter_imports_kfp_and_the_standard_library_alone(file: str) -> None:
    roots = {name.partition(".")[0] for name in imports(file, top_only=True)}

    assert roots - set(sys.stdlib_module_names) == {"kfp"}


@pytest.mark.parametrize(
    "module",
    [
        *("pipelines.cli", "genpipe.tracking", "genpipe.storage", "genpipe.cells"),
        *("pipelines.preflight", "pipelines.local.run"),
    ],
)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert module in loaded
    heavy = {"tensorflow", "keras", "wandb", "kfp", "matplotlib", "PIL", "google.cloud", "boto3"}
    assert not loaded & (heavy | {"tensorflow_datasets", "scipy", "pandas"})
