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
    for package in ("components", "pipelines")
    for path in (ROOT / package).rglob("*.py")
)
STEPS = ("ingest", "train", "evaluate", "sample", "compare", "publish")
OPEN_TO_ALL = ("components.ingest.dataset", "components.train.saved")


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
    assert {"components/tracking/step.py", "components/train/train.py", "pipelines/cli.py"} <= set(
        FILES
    )


def test_only_adapters_and_pipelines_import_kfp() -> None:
    allowed = {
        file for file in FILES if file.startswith("pipelines/") or file.endswith("/component.py")
    }
    found = importers("kfp")

    assert "components/train/component.py" in found
    assert found <= allowed


def test_only_tracking_imports_wandb() -> None:
    found = importers("wandb")
    assert "components/tracking/wandb.py" in found
    assert all(file.startswith("components/tracking/") for file in found)


def test_only_storage_imports_google_cloud() -> None:
    assert importers("google") == {"components/storage.py"}


def test_only_storages_s3_imports_boto3() -> None:
    for module in ("boto3", "botocore", "s3transfer"):
        assert importers(module) == {"components/s3.py"}
    assert importers("components.s3") == {"components/storage.py"}


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
        foreign = {
            name
            for name in imports(file)
            if name.startswith(tuple(f"{other}." for other in others))
            and not f"{name}.".startswith(tuple(f"{open_one}." for open_one in OPEN_TO_ALL))
        }
        assert not foreign, f"{file} imports {foreign}"


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith("/component.py")])
def test_at_its_top_an_adapter_imports_kfp_and_the_standard_library_alone(file: str) -> None:
    roots = {name.partition(".")[0] for name in imports(file, top_only=True)}

    assert roots - set(sys.stdlib_module_names) == {"kfp"}


def test_no_component_imports_the_pipelines() -> None:
    assert {file for file in importers("pipelines") if file.startswith("components/")} == set()


@pytest.mark.parametrize(
    "module", ["pipelines.cli", "components.tracking", "components.storage", "components.cells"]
)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert module in loaded
    heavy = {"tensorflow", "keras", "wandb", "kfp", "matplotlib", "PIL", "google.cloud", "boto3"}
    assert not loaded & (heavy | {"tensorflow_datasets", "scipy", "pandas"})
