"""Run a local run's steps in containers: what kfp.local's DockerRunner needs.

A container sees kfp's outputs and the run's logs at the paths that they have outside, so that what
a step says of itself (``genpipe.tracking.progress``) reaches the run. It writes nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genpipe.errors import InputError
from pipelines.environments import Environment, local_environment
from pipelines.problems import explain
from pipelines.settings import Images

if TYPE_CHECKING:
    from kfp import local

LABEL = "genpipe.run"
# What a step reads of its surroundings (see genpipe.tracking); all else stays outside.
PASSED_ON = (
    *("GENPIPE_EVENTS", "GENPIPE_LOGS", "GENPIPE_RUN", "TF_CPP_MIN_LOG_LEVEL"),
    *("GENPIPE_CHECKPOINTS", "GENPIPE_CHECKPOINT_SECONDS"),
    *("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY"),
    *("WANDB_RUN_GROUP", "WANDB_FINISH_TIMEOUT", "WANDB_INSECURE_DISABLE_SSL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


def find_image(name: str) -> str:
    """An image's name as its engine lists it: podman puts ``localhost/`` before a short one.

    Raises:
        InputError: the name has no tag, the docker package is not installed, no engine answers,
            or it has no such image.
    """
    try:
        Images(cpu=name)
    except ValidationError as error:
        raise InputError(f"image {name!r}: {explain(error)}") from None
    tags: list[str] = _image(name).tags
    return next((tag for tag in tags if tag == name or tag.endswith(f"/{name}")), name)


def container_environment(image: str) -> Environment:
    """This machine, with every step in one image."""
    return local_environment().model_copy(update={"images": Images(cpu=image)})


def docker_runner(
    image: str,
    run: str,
    *,
    writable: Sequence[Path],
    mounted: Sequence[Path],
    readable: Sequence[Path],
) -> local.DockerRunner:
    """What starts the containers of a run.

    They run as whoever runs this, so that their files are theirs. Root stays outside: for it they
    run as the image's own user, to whom ``writable`` is handed.

    Args:
        image: as the engine names it.
        run: the run's name, which the containers are labelled with.
        writable: files and folders that steps write.
        mounted: folders that containers see beside kfp's outputs, which kfp mounts.
        readable: folders that they see and can't write to.
    """
    from docker.types import Mount
    from kfp import local

    user = f"{os.getuid()}:{os.getgid()}"
    if os.getuid() == 0:
        user = _image(image).attrs["Config"]["User"]
        owner, _, group = user.partition(":")
        for path in writable:
            os.chown(path, int(owner), int(group or owner))
    return local.DockerRunner(
        user=user,
        read_only=True,
        tmpfs={"/tmp": ""},
        network_mode="host",  # a W&B server on localhost is there for containers too
        mounts=[
            Mount(str(path), str(path), type="bind", read_only=path in readable)
            for path in (*readable, *mounted)
        ],
        environment={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        labels={LABEL: run},
    )


def stop_containers(run: str) -> None:
    """End the containers of a run: the engine started them, so no signal of ours reaches them."""
    import docker

    for container in docker.from_env().containers.list(filters={"label": f"{LABEL}={run}"}):
        container.kill()


def _image(name: str) -> Any:
    try:
        import docker
    except ImportError:
        raise InputError("--runner docker: pip install 'genpipe[docker]' first") from None
    try:
        return docker.from_env().images.get(name)
    except docker.errors.ImageNotFound:
        raise InputError(f"there is no image {name}: `make images` builds it") from None
    except docker.errors.APIError as error:
        raise InputError(f"image {name!r}: {error.explanation}") from None
    except docker.errors.DockerException:
        place = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
        raise InputError(
            f"no container engine answers at {place}: start Docker or Podman, or set DOCKER_HOST"
        ) from None
