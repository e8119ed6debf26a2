"""Small runs of `genpipe`, and the commands of the pages with small budgets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.test_docs import PAGES, ROOT, commands

GENPIPE = Path(sys.executable).with_name("genpipe")
FAMILIES = ("autoencoder", "vae", "dcgan")
BUDGETS = {
    "autoencoder": ("--autoencoder-epochs", "1", "--param", "autoencoder.hidden_size=64"),
    "vae": ("--vae-epochs", "1", "--param", "vae.hidden_size=64"),
    "dcgan": ("--dcgan-steps", "4", "--param", "dcgan.gen_interval=2"),
}


# What trains cells of its own, and promises nothing of MNIST: 240 pictures cost half of its time.
FLOWERS = ("--dataset", "flowers", "--source", "~/flowers", "--image-size", "32")


def budgets(*families: str, data: tuple[str, ...] = ("--source", "wheel")) -> list[str]:
    """Arguments that make a run of families small."""
    shared = (*data, "--param", "judge_epochs=1", "--param", "samples=200")
    return [*shared, *(word for family in families for word in BUDGETS[family])]


def small(*families: str, size: str = "2", **data: tuple[str, ...]) -> list[str]:
    """Arguments of a small run of families."""
    return ["--families", ",".join(families), "--latent-sizes", size, *budgets(*families, **data)]


KEY = "notakey" * 6
# Of every command below: a home of its own, and a proxy that notes what is asked of the network.
SURROUNDINGS: dict[str, str] = {}


def genpipe(
    folder: Path, cache: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **SURROUNDINGS,
        "TFDS_DATA_DIR": str(cache),
        "WANDB_MODE": "offline",
        "WANDB_API_KEY": KEY,
        **variables,
    }
    return subprocess.run(
        [GENPIPE, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


# Commands of README and docs that other tests run: in containers, on what a cluster's run left, on
# W&B's side, on several versions, with a family installed that the package does not bring.
ELSEWHERE = {
    "run --families denoising": "tests/e2e/test_brought_family.py",
    "run --dataset letters": "tests/e2e/test_new_images.py",
    "run --dataset shapes": "tests/genpipe/data/test_readers.py",
    "run --dataset cifar10": "tests/genpipe/data/test_readers.py",
    "run --runner docker --image": "tests/images",
    "run --resume": "tests/e2e/test_resume.py",
    "runs remove": "tests/pipelines/runs/test_removal.py",
    "artifacts list RUN --environment": "tests/pipelines/runs/test_artifacts.py",
    "artifacts pull RUN --environment": "tests/pipelines/runs/test_artifacts.py",
    "report RUN --environment": "tests/pipelines/runs/test_unfinished.py",
    "logs RUN": "tests/pipelines/cluster/test_follow.py",
    "wandb sync": "tests/pipelines/runs/test_wandb_sync.py",
    "champions rollback": "tests/pipelines/console/test_champions_command.py",
}


def with_one_name_for_each_thing(command: str) -> str:
    """Pages write a run and a commit in several ways, which are one here."""
    command = re.sub(r"--tag ('\$tag'|3f2a91c)", "--tag COMMIT", command)
    return re.sub("^(run .*) --name .*", r"\1", command).replace("'$RUN'", "RUN")


DOCUMENTED = {
    command
    for page in PAGES
    for line in commands(page)
    if not (command := with_one_name_for_each_thing(shlex.join(line))).startswith(tuple(ELSEWHERE))
}
# Those that train cells which no other command uses: on flowers, and in a worker of their own.
TRAINING_APART = {
    command
    for command in DOCUMENTED
    if re.match(r"run .*--(source|seeds|latent-sizes|param) ", command)
}


def runs_first(command: str) -> tuple[bool, str]:
    """The order of commands: some compare two runs."""
    return not command.startswith("run "), command


def as_small(command: str, place: Path) -> list[str]:
    """The arguments of a command of the pages.

    As it stands there, but for names that readers put in, and with the smallest budgets.
    """
    words = command
    for written, here in {
        "RUN RUN": "first latest",
        "RUN": "first",
        "gs://BUCKET/published": str(place / "published"),
        "COMMIT": "1",
        "my-images": str(place / "runs/first/ingest/data/test_images.npy"),
        "DIR": str(place / "of-docs"),
        "apply deploy/schedules/weekly.yaml": f"apply {ROOT}/deploy/schedules/weekly.yaml",
    }.items():
        words = words.replace(written, here)
    arguments = shlex.split(words)
    if arguments[0] == "run":
        chosen = re.search(r"--families (\S+)", words)
        named = chosen[1].split(",") if chosen else FAMILIES[:2] if "--quick" in words else FAMILIES
        data = FLOWERS if command in TRAINING_APART else ("--source", "wheel")
        told = shlex.join(budgets(*named, data=() if "--source" in words else data))
        if "vae.epochs=" in words:  # a parameter may be given once
            told = told.replace("--vae-epochs 1", "")
            arguments = [re.sub(r"^vae\.epochs=.*", "vae.epochs=1", one) for one in arguments]
        arguments += shlex.split(told)
        arguments += [] if "--latent-sizes" in words else ["--latent-sizes", "2"]
    if arguments[0] == "train":
        arguments += ["--epochs", "1", "--hidden-size", "64"]
    if arguments[:2] == ["schedule", "apply"] and "--environment" not in arguments:
        arguments += ["--environment", "mine.yaml", "--tag", "1"]
    return arguments
