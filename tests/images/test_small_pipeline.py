"""The small pipeline in containers of the CPU image, through kfp.local's DockerRunner.

`make test-images` builds the image and starts the engine; elsewhere these tests are not collected.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

IMAGE = os.environ["GENPIPE_TEST_IMAGE"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RUN = [
    *(Path(sys.executable).with_name("genpipe"), "run", "--runner", "docker", "--image", IMAGE),
    *("--source", "wheel", "--families", "autoencoder,vae,dcgan", "--latent-sizes", "2"),
    *("--autoencoder-epochs", "1", "--vae-epochs", "1", "--dcgan-steps", "4"),
    *("--param", "judge_epochs=1", "--param", "samples=200", "--param", "dcgan.gen_interval=2"),
]
CELLS = ("autoencoder-2", "vae-2", "dcgan-2")
STEPS = {
    *("ingest", "judge", "compare", "publish"),
    *(f"train-{cell}" for cell in CELLS),
    *(f"{step}-{cell}" for step in ("evaluate", "sample") for cell in CELLS),
}


def in_container(*command: str) -> str:
    """What a command prints in a container of the image, as nobody in particular."""
    import docker

    container = docker.from_env().containers.run(
        IMAGE,
        list(command),
        detach=True,
        read_only=True,
        tmpfs={"/tmp": ""},
        user="54321:54321",
        network_mode="host",
    )
    try:
        # Only then: podman has lost the output of a container that it removed at its end by itself.
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
        return container.logs(stderr=False).decode()
    finally:
        container.remove()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module")
def first(place):
    result = subprocess.run([*RUN, "--name", "first"], cwd=place, capture_output=True, text=True)
    log = place / "runs/first/logs/kfp.log"
    assert result.returncode == 0, result.stdout + result.stderr + log.read_text()
    return result


def test_every_step_is_followed_in_its_container(first):
    for step in STEPS:
        assert re.search(rf"^ +{re.escape(step)} +started$", first.stdout, re.M), step
        assert re.search(rf"^ +{re.escape(step)} +done after", first.stdout, re.M), step
    assert "Leaderboard of first" in first.stdout


def test_the_run_folder_is_as_without_containers(place, first):
    run = place / "runs/first"
    board = json.loads((run / "leaderboard.json").read_text())

    assert {cell["status"] for cell in board["cells"]} == {"complete"}
    assert {path.stem for path in (run / "logs").glob("*.log")} == STEPS | {"kfp"}
    # A run of every step, and one of every cell.
    assert len(list((run / "wandb").glob("*/offline-run-*"))) == len(STEPS) + len(board["cells"])


def test_no_step_ran_as_root(place, first):
    made = [path for path in (place / "runs/first").rglob("*") if "first/logs/" in str(path)]

    owners = {path.stat().st_uid for path in made if path.name not in ("kfp.log", "pipeline.yaml")}
    assert owners == {os.getuid() or 10001}


def test_an_identical_run_comes_from_the_cache(place, first):
    result = subprocess.run([*RUN, "--name", "second"], cwd=place, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall("from the cache", result.stdout)) >= len(STEPS) - 2


def test_several_seeds_run_in_containers(place, first):
    """Their cells are called vae-2@0 and vae-2@1: in paths, volumes and names of runs."""
    command = [*RUN, "--seeds", "0,1", "--name", "seeds"]
    result = subprocess.run(command, cwd=place, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr
    board = json.loads((place / "runs/seeds/leaderboard.json").read_text())
    assert [row["cell_seed"] for row in board["cells"]] == [0, 1] * len(CELLS)
    assert {row["status"] for row in board["over_seeds"]} == {"complete"}


def test_images_in_one_file_are_read_in_a_container_and_changed_ones_again(place, first):
    """``fingerprint`` and ``ingest`` see the file; nothing may write to it."""

    def run(name, seed):
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (600, 8, 8, 3), np.uint8)
        np.savez(place / "own.npz", images=images, labels=np.arange(600) % 3)
        command = [*RUN[:6], "--dataset", "own", "--source", "own.npz", "--families", "vae"]
        command += ["--latent-sizes", "2", "--vae-epochs", "1", "--name", name]
        command += ["--param", "judge_epochs=1", "--param", "samples=64"]
        result = subprocess.run(command, cwd=place, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        data = json.loads((place / "runs" / name / "ingest/data/dataset.json").read_text())
        assert data["image_shape"] == [8, 8, 3]
        return data["digest"]

    assert run("own", 0) != run("changed", 1)


def test_an_interrupted_run_leaves_no_container(place, first):
    import docker

    engine = docker.from_env()

    def running():
        return engine.containers.list(filters={"label": "genpipe.run=broken"})

    command = [*RUN, "--seed", "1", "--name", "broken"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not running() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert running()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert not running()


def test_the_image_says_its_commit_and_runs_as_a_number():
    import docker

    config = docker.from_env().images.get(IMAGE).attrs["Config"]
    assert re.match("[0-9a-f]{40}", config["Labels"]["org.opencontainers.image.revision"])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])


def test_the_image_holds_neither_pip_nor_a_compiler_nor_a_cache():
    script = "command -v pip gcc cc uv; find / -xdev -name '*.whl' -o -name pip.conf; echo end"
    found = in_container("sh", "-c", script).split()
    # Python's own venv module carries the wheels that it makes an environment with.
    assert [path for path in found if not path.startswith("/usr/")] == ["end"]


def test_bytecode_is_ready_for_the_package_and_its_libraries():
    script = "import genpipe.tracking, numpy; print(numpy.__cached__, genpipe.__cached__)"
    for path in in_container("python3", "-c", script).split():
        assert in_container("ls", path).strip() == path
