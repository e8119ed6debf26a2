"""Environments: what is refused and how it is told, and what the shipped ones say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genpipe.errors import InputError
from pipelines.environments import Environment, shipped_environments
from pipelines.settings import STEPS, TRAIN

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "api": {"host": "https://kfp.example.com", "namespace": "team"},
    "images": {"cpu": "genpipe-cpu:1", "gpu": "genpipe-gpu:1"},
}


def write(folder: Path, changes: dict[str, Any]) -> Path:
    """A file with the minimal environment, changed at dotted places (None takes a field out)."""
    content = yaml.safe_load(yaml.safe_dump(MINIMAL))
    for place, value in changes.items():
        *parents, last = place.split(".")
        inside = content
        for parent in parents:
            inside = inside.setdefault(parent, {})
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"imgaes": {}}, "imgaes: unknown field: did you mean images?"),
        ({"gpu": {"cuont": 1}}, "gpu.cuont: unknown field: did you mean count?"),
        ({"name": None}, "name is missing"),
        ({"images.cpu": None}, "images.cpu is missing"),
        ({"images.cpu": "genpipe"}, "images.cpu: give the image an explicit tag"),
        (
            {"images.cpu": "genpipe:latest"},
            "images.cpu: give the image an explicit tag other than latest",
        ),
        ({"images.cpu": "host:5000/genpipe"}, "images.cpu: give the image an explicit tag"),
        ({"images.pull_policy": "Sometimes"}, "images.pull_policy"),
        ({"images.gpu": None, "gpu": {"count": 1}}, "images.gpu: a GPU pool"),
        ({"gpu": {"count": "1"}}, "gpu.count"),
        ({"gpu": {"count": 0}}, "gpu.count"),
        ({"gpu": {"node_selector": {"pool": 1}}}, "gpu.node_selector.pool"),
        ({"cpu": {"tolerations": [{"operator": "Is"}]}}, "cpu.tolerations.0.operator"),
        ({"parallelism": "2"}, "parallelism"),
        ({"parallelism": 0}, "parallelism must lie between 1 and 1000, got 0"),
        ({"parallelism": True}, "parallelism"),
        ({"retries": {"count": 2.5}}, "retries.count"),
        (
            {"retries": {"backoff": "30 seconds"}},
            "retries.backoff: write a number and s, m or h, e.g. 30s; got '30 seconds'",
        ),
        ({"retries": {"factor": float("nan")}}, "retries.factor"),
        ({"time_limit_seconds": 0}, "time_limit_seconds"),
        ({"ttl_seconds": "a week"}, "ttl_seconds"),
        ({"checkpoint_root": "checkpoints"}, "checkpoint_root"),
        ({"checkpoint_root": "s3://bucket/checkpoints"}, "checkpoint_root"),
        ({"checkpoint_seconds": 0}, "checkpoint_seconds"),
        (
            {"steps": {"tarin_vae": {}}},
            "steps: unknown step 'tarin_vae': choose from fingerprint, ingest, judge,",
        ),
        ({"steps": {"judge": {"threads": "shared"}}}, "steps.judge.threads: shared divides"),
        (
            {"steps": {"default": {"memory_request": "2Gi"}, "judge": {"memory_limit": "600Mi"}}},
            "steps: judge asks for memory 2Gi (memory_request), above its memory_limit 600Mi",
        ),
        (
            {"steps": {"default": {"cpu_request": "1500m", "cpu_limit": "1"}}},
            "steps: fingerprint asks for cpu 1500m",
        ),
        (
            {"retries": {"longest": "10m"}},
            "retries.longest: unknown field: choose from count, backoff",
        ),
        (
            {"retries": {"count": 1, "max_duration": "10m"}, "time_limit_seconds": 7200},
            "retries.max_duration, 600 s from the first attempt on, ends before",
        ),
        ({"volumes": [{"claim": "data"}]}, "volumes.0.path is missing"),
        ({"volumes": [{"claim": "data", "path": "data"}]}, "volumes.0.path"),
        ({"volumes": [{"claim": "data", "path": "/"}]}, "volumes.0.path"),
        ({"volumes": [{"claim": "data", "path": "/minio/data"}]}, "volumes.0.path: "),
        ({"volumes": [{"claim": "data", "path": "/data", "steps": ["trian"]}]}, "volumes.steps"),
        (
            {"checkpoint_root": "/data/checkpoints"},
            "checkpoint_root: /data/checkpoints is in no volume that train mounts",
        ),
        (
            {
                "checkpoint_root": "/data/../checkpoints",
                "volumes": [{"claim": "data", "path": "/data"}],
            },
            "checkpoint_root: /data/../checkpoints is in no volume",
        ),
        (
            {
                "checkpoint_root": "/data",
                "volumes": [{"claim": "data", "path": "/data", "steps": ["judge"]}],
            },
            "checkpoint_root: /data is in no volume that train mounts",
        ),
        ({"steps": {"ingest": {"cpu_request": "two"}}}, "steps.ingest.cpu_request"),
        ({"steps": {"ingest": {"cpu_request": True}}}, "steps.ingest.cpu_request"),
        (
            {"steps": {"ingest": {"memory_limit": "2 GB"}}},
            "steps.ingest.memory_limit: give a Kubernetes quantity, such as 500m",
        ),
        ({"steps": {"ingest": {"memory_limit": "1.5GiB"}}}, "steps.ingest.memory_limit"),
        ({"shared_memory": "1 gigabyte"}, "shared_memory"),
        ({"pipeline_root": "/tmp/root"}, "pipeline_root"),
        ({"pipeline_root": "gs://"}, "pipeline_root: write gs://BUCKET/PREFIX, s3://BUCKET/PREFIX"),
        ({"service_account": "My Weekly!"}, "service_account: use lower-case letters"),
        ({"api.host": "kfp.example.com"}, "api.host: start it with http:// or https://, e.g. "),
        ({"api.namespace": "Team A"}, "api.namespace"),
        ({"api.authentication": "password"}, "api.authentication"),
        ({"api.authentication": "iap"}, "api: authentication iap needs client_id"),
        ({"wandb": {"api_key": "x"}}, "wandb.api_key: unknown field: "),
        ({"wandb": {"base_url": "wandb.example.com"}}, "wandb.base_url"),
        ({"wandb": {"project": "team/mnist"}}, "wandb.project"),
        ({"wandb": {"entity": "a b"}}, "wandb.entity: give a W&B user or team name; no spaces"),
        ({"variables": {"WANDB_API_KEY": "x"}}, "variables: WANDB_API_KEY looks like a secret"),
        ({"variables": {"A-B": "x"}}, "variables.A-B"),
        ({"variables": {"COUNT": 1}}, "variables.COUNT"),
    ],
)
def test_a_bad_environment_is_refused_with_file_and_field(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = write(tmp_path, changes)

    with pytest.raises(InputError) as refusal:
        Environment.read(path)

    assert str(refusal.value).startswith(f"{path}: {told}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"name: [", b"\xff\xfe\x00", b"a string"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"mine\.yaml") as refusal:
        Environment.read(path)

    assert "\n" not in str(refusal.value)


def test_an_unknown_name_lists_those_that_are_shipped() -> None:
    with pytest.raises(InputError, match="cluster-cpu, gke-gpu, local"):
        Environment.read("gke-tpu")


def test_the_shipped_environments_are_read_by_name_and_named_so() -> None:
    for path in shipped_environments().glob("*.yaml"):
        environment = Environment.read(path.stem)
        assert environment == Environment.read(path)
        assert environment.name == path.stem


def test_the_environment_of_the_page_for_a_first_cluster_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "first-cluster.md").read_text(encoding="utf-8")
    content = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "mine.yaml").write_text(content)

    environment = Environment.read(tmp_path / "mine.yaml")

    assert environment.api
    assert environment.api.authentication == "token"
    assert not environment.is_example
    assert Environment.read("cluster-cpu").is_example


def test_training_runs_on_the_gpu_image_and_the_rest_on_the_cpu_image(tmp_path: Path) -> None:
    environment = Environment.read(write(tmp_path, {"gpu": {"count": 2}}))

    images = {step: environment.image(step) for step in STEPS}

    assert {step for step, image in images.items() if image == "genpipe-gpu:1"} == {TRAIN}
    assert {image for step, image in images.items() if step != TRAIN} == {"genpipe-cpu:1"}


def test_a_step_asks_for_its_own_and_else_for_the_default(tmp_path: Path) -> None:
    steps = {
        "default": {"cpu_request": "1", "memory_limit": "2Gi"},
        "judge": {"memory_limit": "3Gi", "threads": 2},
    }
    environment = Environment.read(write(tmp_path, {"steps": steps}))

    assert environment.step("ingest").memory_limit == "2Gi"
    assert environment.step("judge").cpu_request == "1"
    assert environment.step("judge").memory_limit == "3Gi"
    assert environment.threads("judge") == 2
    assert environment.threads("ingest") is None


def test_shared_threads_divide_the_cores_among_the_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"train": {"threads": "shared"}}
    for cores, cells, threads in ((16, 2, 8), (2, 2, 1), (1, 2, 1), (8, 3, 2), (4, None, 4)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        changes = {"api": None, "steps": steps} | ({"parallelism": cells} if cells else {})
        environment = Environment.read(write(tmp_path, changes))
        assert environment.threads("train") == threads


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://h", "https://h"),
        ("https://h/", "https://h"),
        ("http://localhost:8888/#/runs/details/1a", "http://localhost:8888"),
        ("https://h/apis/v2beta1", "https://h"),
        ("https://h/pipeline/apis/v2beta1/healthz", "https://h/pipeline"),
        ("https://h/_/pipeline/?ns=team#/runs", "https://h/pipeline"),
        ("https://h/kubeflow/_/pipeline/#/experiments", "https://h/kubeflow/pipeline"),
        ("https://h/pipeline-staging/", "https://h/pipeline-staging"),
    ],
)
def test_the_address_that_a_browser_shows_is_taken(tmp_path: Path, given: str, taken: str) -> None:
    api = Environment.read(write(tmp_path, {"api.host": given})).api

    assert api is not None
    assert api.host == taken


def test_a_tag_replaces_that_of_every_image(tmp_path: Path) -> None:
    changes = {"images.cpu": "host:5000/team/cpu:1", "images.gpu": f"gpu@sha256:{'0' * 64}"}
    images = Environment.read(write(tmp_path, changes)).with_tag("3f2a91c").images

    assert (images.cpu, images.gpu) == ("host:5000/team/cpu:3f2a91c", "gpu:3f2a91c")
    assert Environment.read("cluster-cpu").with_tag("3f2a91c").images.gpu is None


@pytest.mark.parametrize("tag", ["", "latest", "a b", "x/y", "-a", "a" * 129])
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match="tag"):
        Environment.read("cluster-cpu").with_tag(tag)
