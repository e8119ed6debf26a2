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

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(file.parent.name for file in (DEPLOY / "overlays").glob("*/kustomization.yaml"))
SCHEMAS = "1.32"
# KFP's own servers carry no such label.
RUN_PODS = {"matchExpressions": [{"key": "pipeline/runid", "operator": "Exists"}]}

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
    assert OVERLAYS == ["cluster-cpu", "gke-gpu"]
    assert set(OVERLAYS) <= {file.stem for file in shipped_environments().glob("*.yaml")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_and_is_valid_kubernetes(deploy: Path, overlay: str) -> None:
    found = manifests(deploy, overlay)

    assert len(found) >= 5
    for manifest in found:
        kubernetes_validate.validate(manifest, SCHEMAS, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
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
    if environment.gpu:
        (quota,) = of_kind("ResourceQuota", found)
        allowed = int(quota["spec"]["hard"][f"requests.{environment.gpu.resource}"])
        assert allowed >= environment.gpu.count
    for launcher in of_kind("ConfigMap", found):
        assert launcher["metadata"]["name"] == "kfp-launcher"
        assert launcher["data"] == {"defaultPipelineRoot": environment.pipeline_root}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_step_pods_run_as_the_account_of_the_manifests(deploy: Path, overlay: str) -> None:
    (account,) = of_kind("ServiceAccount", manifests(deploy, overlay))

    assert account["metadata"]["name"] == Environment.read(overlay).service_account


@pytest.mark.parametrize("overlay", OVERLAYS)
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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_network_policies_are_of_pods_of_runs_alone(deploy: Path, overlay: str) -> None:
    policies = of_kind("NetworkPolicy", manifests(deploy, overlay))

    assert policies
    for policy in policies:
        assert policy["spec"]["podSelector"] == RUN_PODS
        assert not policy["spec"].get("ingress")
        # A rule without ports would allow everything.
        assert all(rule["ports"] for rule in policy["spec"]["egress"])
    assert any("Ingress" in policy["spec"]["policyTypes"] for policy in policies)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_limits_leave_the_pods_of_kfp_alone(deploy: Path, overlay: str) -> None:
    found = manifests(deploy, overlay)

    for limits in of_kind("LimitRange", found):
        for limit in limits["spec"]["limits"]:
            assert set(limit) == {"type", "defaultRequest"}
    for quota in of_kind("ResourceQuota", found):
        # A quota on cpu or memory refuses every pod that does not name them.
        assert set(quota["spec"]["hard"]) == {"requests.nvidia.com/gpu"}


def test_a_missing_key_file_is_told_and_no_key_file_can_be_committed(
    deploy: Path, tmp_path: Path
) -> None:
    shutil.copytree(deploy, tmp_path / "deploy")
    (tmp_path / "deploy" / "overlays" / "gke-gpu" / "wandb.env").unlink()
    built = build(tmp_path / "deploy" / "overlays" / "gke-gpu")
    assert built.returncode != 0
    assert "wandb.env" in built.stderr

    for name in ("wandb.env", "launcher.env"):
        file = DEPLOY / "overlays" / "gke-gpu" / name
        command = ["git", "check-ignore", "--quiet", str(file)]
        assert subprocess.run(command, cwd=DEPLOY, check=False).returncode == 0, file
        assert file.with_suffix(".env.example").is_file()
