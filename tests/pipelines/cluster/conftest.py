"""A server of the v2beta1 API for each test, and nothing of this machine's own settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import kfp
import pytest
import yaml

from pipelines.cluster import api as kfp_api
from pipelines.cluster import follow, workflow
from tests.pipelines.cluster.fake_api import FakeApi


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries and polls, no cluster that a kubeconfig of this machine names."""
    monkeypatch.setattr(kfp_api, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(follow, "LARGEST_SHARE", 1.0)
    monkeypatch.setattr(workflow, "SECONDS_TO_BEGIN", 0.1)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/no-such-kubeconfig"
    )
    for name in os.environ:
        if name.startswith(("KF_PIPELINES_", "GENPIPE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


@pytest.fixture
def client(api: FakeApi) -> kfp.Client:
    return kfp_api.connect(api.environment())


@pytest.fixture
def file(api: FakeApi, tmp_path: Path) -> str:
    """A file with the environment of the server."""
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(api.environment().model_dump(exclude_defaults=True)))
    return str(path)
