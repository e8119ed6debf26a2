"""What each task of a compiled pipeline asks of the cluster, as a table a reader can check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.environments import Environment, shipped_environments
from pipelines.latent_fanout import compile_to
from pipelines.parameters import Parameters
from pipelines.settings import STEPS, TRAIN
from tests.pipelines.golden import documents, steps_of

CLUSTERS = ("cluster-cpu", "gke-gpu")
# Step: image, CPU request and limit, memory request and limit, accelerators.
TABLE = {
    "cluster-cpu": """
        fingerprint        genpipe-cpu:t  500m 2  1Gi 2Gi  -
        ingest             genpipe-cpu:t  500m 2  1Gi 2Gi  -
        judge              genpipe-cpu:t  1    2  2Gi 3Gi  -
        train              genpipe-cpu:t  2    2  1536Mi 3Gi  -
        evaluate           genpipe-cpu:t  500m 2  1Gi 2Gi  -
        sample             genpipe-cpu:t  500m 2  1Gi 2Gi  -
        compare            genpipe-cpu:t  500m 2  1Gi 2Gi  -
        publish            genpipe-cpu:t  500m 2  1Gi 2Gi  -
        notify             genpipe-cpu:t  500m 2  1Gi 2Gi  -
    """,
    "gke-gpu": """
        fingerprint        genpipe-cpu:t  500m 2  1Gi 2Gi  -
        ingest             genpipe-cpu:t  500m 2  1Gi 2Gi  -
        judge              genpipe-cpu:t  1    2  2Gi 3Gi  -
        train              genpipe-gpu:t  2    4  4Gi 8Gi  nvidia.com/gpu=1
        evaluate           genpipe-cpu:t  500m 2  1Gi 2Gi  -
        sample             genpipe-cpu:t  500m 2  1Gi 2Gi  -
        compare            genpipe-cpu:t  500m 2  1Gi 2Gi  -
        publish            genpipe-cpu:t  500m 2  1Gi 2Gi  -
        notify             genpipe-cpu:t  500m 2  1Gi 2Gi  -
    """,
}
SELECTOR = {
    "cloud.google.com/gke-accelerator": "nvidia-l4",
    "cloud.google.com/gke-spot": "true",
}
TOLERATIONS = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {
        "key": "cloud.google.com/gke-spot",
        "operator": "Equal",
        "value": "true",
        "effect": "NoSchedule",
    },
]
RUN_GROUP = [{"name": "WANDB_RUN_GROUP", "fieldPath": "metadata.labels['pipeline/runid']"}]
WANDB_SECRET = {("wandb", "WANDB_API_KEY", "WANDB_API_KEY")}


def compiled(folder: Path, environment: Environment) -> str:
    path = folder / "pipeline.yaml"
    # All steps: a source that may change is looked at first.
    images = Parameters.checked({"dataset": "own", "source": "gs://b/a"}, environment.parameters)
    compile_to(path, environment, images)
    return path.read_text()


def executors(text: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Step, container and Kubernetes settings of every executor of a compiled pipeline."""
    spec, *platforms = documents(text)
    kubernetes = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"] if platforms else {}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        step = executor["container"]["args"][-1]
        yield step, executor["container"], kubernetes.get("executors", {}).get(name, {})


def tasks(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Step and task of every task that has an executor, those in loops too."""
    spec = documents(text)[0]
    step_of = {
        name: spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["args"][
            -1
        ]
        for name, component in spec["components"].items()
        if "executorLabel" in component
    }
    inside = [component["dag"] for component in spec["components"].values() if "dag" in component]
    for dag in [spec["root"]["dag"], *inside]:
        for task in dag["tasks"].values():
            component = task["componentRef"]["name"]
            if component in step_of:
                yield step_of[component], task


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    environment = Environment.read(request.param).with_tag("t")
    environment = environment.model_copy(update={"notify": True})  # so that it has all steps
    return environment, compiled(tmp_path_factory.mktemp("compiled"), environment)


def test_every_task_asks_for_what_the_table_says(cluster: Any) -> None:
    environment, text = cluster
    rows = {line.split()[0]: line.split()[1:] for line in TABLE[environment.name].split("\n")[1:-1]}
    found = {}
    for step, container, _ in executors(text):
        asked = container["resources"]
        accelerator = asked.get("accelerator")
        row = [
            container["image"],
            asked["resourceCpuRequest"],
            asked["resourceCpuLimit"],
            asked["resourceMemoryRequest"],
            asked["resourceMemoryLimit"],
            f"{accelerator['resourceType']}={accelerator['resourceCount']}" if accelerator else "-",
        ]
        assert found.setdefault(step, row) == row
    assert found == rows


def test_selector_and_tolerations_come_with_the_accelerator_and_only_with_it(cluster: Any) -> None:
    environment, text = cluster
    for step, container, kubernetes in executors(text):
        on_gpu = "accelerator" in container["resources"]
        assert on_gpu == (environment.name == "gke-gpu" and step == TRAIN)
        assert kubernetes.get("nodeSelector", {}).get("labels", {}) == (SELECTOR if on_gpu else {})
        assert kubernetes.get("tolerations", []) == (TOLERATIONS if on_gpu else [])
        mounts = kubernetes.get("emptyDirMounts", [])
        assert [mount["mountPath"] for mount in mounts] == (["/dev/shm"] if on_gpu else [])
    assert environment.name == "gke-gpu" or not {"nvidia", "gpu"} & set(text.split())


def test_training_is_told_of_checkpoints_and_the_first_step_where_they_go() -> None:
    environment = Environment.read("gke-gpu").model_copy(update={"checkpoint_seconds": 300})
    names = ("GENPIPE_CHECKPOINTS", "GENPIPE_CHECKPOINT_SECONDS")

    for step in STEPS:
        told = [environment.step_variables(step).get(name) for name in names]
        root = "gs://BUCKET/checkpoints" if step in (TRAIN, "ingest") else None
        assert told == [root, "300" if step == TRAIN else None]


def test_every_task_has_its_limits_retries_and_variables(cluster: Any) -> None:
    environment, text = cluster
    retries = {"cluster-cpu": 2, "gke-gpu": 4}[environment.name]
    for step, container, kubernetes in executors(text):
        named = {entry["name"]: entry["value"] for entry in container["env"]}
        expected = {"WANDB_PROJECT": "genpipe"}
        if environment.name == "gke-gpu" and step in (TRAIN, "ingest"):
            expected["GENPIPE_CHECKPOINTS"] = "gs://BUCKET/checkpoints"
        if step == "publish":
            expected |= {"TF_NUM_INTRAOP_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        assert named == expected
        assert kubernetes["activeDeadlineSeconds"] == "7200"
        assert kubernetes["imagePullPolicy"] == "IfNotPresent"
        assert kubernetes["fieldPathAsEnv"] == RUN_GROUP
        assert kubernetes["podMetadata"] == {"labels": {"app.kubernetes.io/part-of": "genpipe"}}
    policies = {step: task["retryPolicy"] for step, task in tasks(text)}
    assert set(policies) == set(STEPS)
    for policy in policies.values():
        assert policy["maxRetryCount"] == retries
        # The whole time from the first attempt on: longer than an attempt may take.
        assert policy["backoffMaxDuration"] == "86400s"


def test_secrets_are_referred_to_and_never_written(cluster: Any) -> None:
    environment, text = cluster
    for _, _, kubernetes in executors(text):
        found = {
            (secret["secretName"], pair["secretKey"], pair["envVar"])
            for secret in kubernetes.get("secretAsEnv", [])
            for pair in secret["keyToEnv"]
        }
        assert found == (WANDB_SECRET if environment.wandb.secret_name else set())


def test_wandb_and_variables_reach_every_step(tmp_path: Path) -> None:
    content = yaml.safe_load((shipped_environments() / "cluster-cpu.yaml").read_text())
    content["wandb"] = {
        "project": "digits",
        "entity": "team",
        "base_url": "http://wandb.example.com",
        "secret_name": "keys",
        "secret_key": "wandb",
    }
    content["variables"] = {"STORAGE_EMULATOR_HOST": "http://storage.example.com"}
    content["images"]["pull_secrets"] = ["registry"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    for _, container, kubernetes in executors(compiled(tmp_path, Environment.read(path))):
        named = {entry["name"]: entry["value"] for entry in container["env"]}
        assert named["WANDB_PROJECT"] == "digits"
        assert named["WANDB_ENTITY"] == "team"
        assert named["WANDB_BASE_URL"] == "http://wandb.example.com"
        assert named["STORAGE_EMULATOR_HOST"] == "http://storage.example.com"
        assert kubernetes["imagePullSecret"][0]["secretName"] == "registry"
        secret = kubernetes["secretAsEnv"][0]
        assert secret["keyToEnv"] == [{"secretKey": "wandb", "envVar": "WANDB_API_KEY"}]


def test_a_claim_is_mounted_by_its_steps_and_looked_at_by_the_first(tmp_path: Path) -> None:
    content = yaml.safe_load((shipped_environments() / "cluster-cpu.yaml").read_text())
    content["volumes"] = [
        {"claim": "all", "path": "/data"},
        {"claim": "few", "path": "/checkpoints", "steps": [TRAIN]},
    ]
    content["checkpoint_root"] = "/checkpoints/genpipe"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    environment = Environment.read(path)
    for step, container, kubernetes in executors(compiled(tmp_path, environment)):
        mounts = [
            (one["pvcNameParameter"]["runtimeValue"]["constant"], one["mountPath"])
            for one in kubernetes["pvcMount"]
        ]
        trains = step == TRAIN
        assert mounts == [("all", "/data"), *([("few", "/checkpoints")] if trains else [])]
        named = {entry["name"]: entry["value"] for entry in container["env"]}
        # The first step does not mount it, and so can't look.
        assert named.get("GENPIPE_CHECKPOINTS") == ("/checkpoints/genpipe" if trains else None)


def test_nothing_of_kubernetes_is_asked_of_this_machine(tmp_path: Path) -> None:
    assert "platforms" not in compiled(tmp_path, Environment.read("local"))


def test_without_caching_no_step_comes_from_the_cache(tmp_path: Path) -> None:
    environment = Environment.read("cluster-cpu")
    uncached = environment.model_copy(update={"caching": False})

    def cached(environment: Environment) -> set[str]:
        spec = documents(compiled(tmp_path, environment))[0]
        dags = [spec["root"]["dag"], *(one["dag"] for one in components(spec))]
        return {
            name
            for dag in dags
            for name, task in dag["tasks"].items()
            if task.get("cachingOptions", {}).get("enableCache")
        }

    def components(spec: Any) -> list[Any]:
        return [one for one in spec["components"].values() if "dag" in one]

    assert {"ingest", "judge", "train"} <= cached(environment)
    assert not {"compare", "publish"} & cached(environment)
    assert not cached(uncached)


def test_a_container_hands_its_step_the_inputs_whatever_else_is_in_its_arguments(
    tmp_path: Path,
) -> None:
    """As it is started in a pod, after the launcher has put the inputs in."""
    text = compiled(tmp_path, Environment.read("cluster-cpu"))
    (container,) = (one for step, one, _ in executors(text) if step == "ingest")
    assert "--variables" in container["args"]
    told = {
        "inputs": {"parameterValues": {"name": "of_no_one"}},
        "outputs": {
            "artifacts": {
                name: {"artifacts": [{"name": name, "type": {}, "uri": str(tmp_path / name)}]}
                for name in ("data", "wandb_run")
            },
            "outputFile": str(tmp_path / "outputs.json"),
        },
    }
    arguments = [json.dumps(told) if one == "{{$}}" else one for one in container["args"]]

    done = subprocess.run(
        [*container["command"], *arguments],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert done.returncode != 0
    assert "unknown data set 'of_no_one'" in done.stdout, done.stdout + done.stderr


def test_loops_are_as_wide_as_the_environment_says(cluster: Any) -> None:
    environment, text = cluster
    loops = steps_of(documents(text)[0])["tasks"].items()
    widths = [
        task["iteratorPolicy"]["parallelismLimit"] for name, task in loops if "for-loop" in name
    ]
    assert widths == [environment.parallelism]


def test_the_compiled_size_does_not_grow_with_the_latent_sizes(cluster: Any) -> None:
    _, text = cluster
    few, many = (
        Parameters.checked({"latent_sizes": tuple(range(1, count + 1))}).arguments()
        for count in (1, 50)
    )
    # The cells are an argument of a run: what is compiled knows the default only.
    assert few.keys() == many.keys()
    spec = documents(text)[0]
    cells = spec["root"]["inputDefinitions"]["parameters"]["cells"]["defaultValue"]
    assert len(cells) == 9
    assert len(json.dumps(many)) - len(json.dumps(few)) < 20 * 147
    assert len(text) < 50_000
