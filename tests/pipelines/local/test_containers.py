"""Steps in containers: what is refused before anything starts. `make test-images` runs them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from genpipe.errors import InputError
from pipelines.cli import main
from pipelines.local.containers import container_environment, find_image


@pytest.mark.parametrize("name", ["genpipe-cpu", "genpipe-cpu:latest", "registry:5000/genpipe-cpu"])
def test_an_image_without_a_tag_of_its_own_is_refused(name):
    with pytest.raises(InputError, match=r"give the image an explicit tag other than latest"):
        find_image(name)


def test_an_engine_that_does_not_answer_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(InputError, match="no container engine answers"):
        find_image("genpipe-cpu:1")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--runner", "docker"], "--runner docker needs --image NAME"),
        (["--image", "genpipe-cpu:1"], "--image needs --runner docker"),
    ],
)
def test_runner_and_image_go_together(options, told, tmp_path):
    result = CliRunner().invoke(main, ["run", "--runs", str(tmp_path), *options])

    assert isinstance(result.exception, InputError)
    assert told in str(result.exception)
    assert not any(tmp_path.iterdir())


def test_every_step_runs_in_the_image():
    environment = container_environment("genpipe-cpu:1")

    assert {environment.image(step) for step in ("ingest", "train_vae")} == {"genpipe-cpu:1"}
