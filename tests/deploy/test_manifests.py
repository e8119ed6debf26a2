"""Manifests: every overlay builds, is valid, fits its environment and gives no more than said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines.environments import Environment, shipped_environments
from pipelines.placement import LABEL

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(file.parent.name for file in (DEPLOY / "overlays").glob("*/kustomization.yaml"))
SCHEMAS = "1.32"
# Those that belong to an environment, and those that one may add.
TARGETS = ["cluster-cpu", "gke-gpu"]
OPTIONS = ["gpu-quota", "network-policy"]
# Of KFP 2.17's own manifests: applying or deleting an overlay of ours must not touch them.
OF_KFP = {"kfp-launcher", "pipeline-runner", "workflow-controller-configmap", "ml-pipeline"}

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests with the local files that they ask for, made from the examples."""
    copy = tmp_path_factory.mktemp("deploy")
    for folder in ("base", "overlays"):
        ignored = shutil.ignore_patterns("*.env")
        shutil.copytree(DEPLOY / folder, copy / folder, ignore=ignored)
    for example in copy.rglob("*.env.example"):
        example.rename(example.with_suffix(""))
    return copy


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def manifests(deploy: Path, overlay: str) -> list[dict[str, Any]]:
    built = build(deploy / "overlays" / overlay)
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def of_kind(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [manifest for manifest in found if manifest["kind"] == kind]


def test_the_overlays_are_found_and_each_has_an_environment() -> None:
    assert sorted(TARGETS + OPTIONS) == OVERLAYS
    assert set(TARGETS) <= {file.stem for file in shipped_environments().glob("*.yaml")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_and_is_valid_kubernetes(deploy: Path, overlay: str) -> None:
    found = manifests(deploy, overlay)

    assert found
    for manifest in found:
        kubernetes_validate.validate(manifest, SCHEMAS, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_of_kfps_own_is_written_or_deleted(deploy: Path, overlay: str) -> None:
    for manifest in manifests(deploy, overlay):
        name = manifest["metadata"]["name"]
        assert name not in OF_KFP
        assert name.startswith("genpipe") or manifest["kind"] == "Secret"
        assert manifest["metadata"]["labels"] == dict([LABEL])


@pytest.mark.parametrize("overlay", TARGETS)
def test_an_overlay_fits_the_environment_of_its_name(deploy: Path, overlay: str) -> None:
    found = manifests(deploy, overlay)
    environment = Environment.read(overlay)
    assert environment.api

    assert {manifest["metadata"]["namespace"] for manifest in found} == {environment.api.namespace}
    secrets = {
        manifest["metadata"]["name"]: set(manifest["data"]) for manifest in of_kind("Secret", found)
    }
    wandb = environment.wandb
    assert secrets == ({wandb.secret_name: {wandb.secret_key}} if wandb.secret_name else {})


def test_the_quota_has_room_for_a_step(deploy: Path) -> None:
    (quota,) = manifests(deploy, "gpu-quota")
    pool = Environment.read("gke-gpu").gpu
    assert pool

    # A quota on cpu or memory refuses every pod that does not name them.
    ((resource, allowed),) = quota["spec"]["hard"].items()
    assert resource == f"requests.{pool.resource}"
    assert int(allowed) >= pool.count


@pytest.mark.parametrize("overlay", TARGETS)
def test_step_pods_run_as_the_account_of_the_manifests(deploy: Path, overlay: str) -> None:
    (account,) = of_kind("ServiceAccount", manifests(deploy, overlay))

    assert account["metadata"]["name"] == Environment.read(overlay).service_account


@pytest.mark.parametrize("overlay", TARGETS)
def test_step_pods_may_do_no_more_than_kfp_needs(deploy: Path, overlay: str) -> None:
    found = manifests(deploy, overlay)
    (role,) = of_kind("Role", found)
    (binding,) = of_kind("RoleBinding", found)
    (account,) = of_kind("ServiceAccount", found)

    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [account["metadata"]["name"]]
    assert not of_kind("ClusterRole", found) + of_kind("ClusterRoleBinding", found)
    for rule in role["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if {"secrets", "configmaps"} & set(rule["resources"]):
            assert rule["resourceNames"], "every secret or ConfigMap of the namespace"
            assert rule["verbs"] == ["get"], "list and watch are not held to names"


def test_network_policies_select_our_own_pods_alone(deploy: Path) -> None:
    policies = manifests(deploy, "network-policy")

    assert {policy["kind"] for policy in policies} == {"NetworkPolicy"}
    for policy in policies:
        # As the pipeline labels the pods of its steps (see tests/pipelines/test_placement.py).
        assert policy["spec"]["podSelector"] == {"matchLabels": dict([LABEL])}
        assert not policy["spec"].get("ingress")
        # A rule without ports would allow everything.
        assert all(rule["ports"] for rule in policy["spec"]["egress"])
    assert any("Ingress" in policy["spec"]["policyTypes"] for policy in policies)


def test_a_missing_key_file_is_told_and_no_key_file_can_be_committed(
    deploy: Path, tmp_path: Path
) -> None:
    shutil.copytree(deploy, tmp_path / "deploy")
    (tmp_path / "deploy" / "overlays" / "gke-gpu" / "wandb.env").unlink()
    built = build(tmp_path / "deploy" / "overlays" / "gke-gpu")
    assert built.returncode != 0
    assert "wandb.env" in built.stderr

    file = DEPLOY / "overlays" / "gke-gpu" / "wandb.env"
    command = ["git", "check-ignore", "--quiet", str(file)]
    assert subprocess.run(command, cwd=DEPLOY, check=False).returncode == 0
    assert file.with_suffix(".env.example").is_file()
