"""What the pods of a run printed, through whichever door is open."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import kfp

from genpipe.words import one_line
from pipelines.cluster.api import ApiError, get_text
from pipelines.cluster.workflow import Pod

CONTAINER = "main"  # as Argo calls the one that does a pod's work
# What Argo, KFP's launcher and its executor say of themselves, whatever went wrong.
CHATTER = re.compile(
    r"I\d{4} .*\.(go|cc):\d+\]|time=\S+ level=(INFO|DEBUG) .*argo=true|\[KFP Executor .*INFO\]"
    r"|time=\S+ level=ERROR msg=\"cannot save parameter, does not exist\""
    r"|WARNING: All log messages before absl::"
)


def read_log(client: kfp.Client, run_id: str, namespace: str, pod: Pod) -> str | None:
    """What a pod printed; None where nothing that can be asked from here has it.

    First the server of KFP's pages is asked, if ``api.host`` leads there: it also has what pods
    printed that are gone. Then the Kubernetes that the kubeconfig of this machine leads to. (The
    API server has a door of its own; in single-user KFP 2.17 it asks without a namespace, and is
    refused.)

    Args:
        client: of ``connect``.
        run_id: of the run.
        namespace: that the pod is, or was, in.
        pod: one of the run.
    """
    doors: tuple[Callable[[], str], ...] = (
        lambda: _from_page(client, run_id, namespace, pod),
        lambda: _from_kubernetes(namespace, pod),
    )
    for read in doors:
        try:
            return read()
        except (ApiError, OSError, ValueError):
            continue
    return None


def without_chatter(text: str) -> Iterator[str]:
    """The lines of a log that a step, or something that went wrong, has written."""
    dumped = False
    for line in text.splitlines():
        if CHATTER.match(line):
            # What follows is the JSON of the step's inputs or outputs.
            dumped = line.endswith(("{", "executor_input:"))
        elif not dumped:
            yield line
        elif line == "}":
            dumped = False


def kubectl(namespace: str, pod: Pod) -> str:
    """The command that shows what a pod printed."""
    return f"kubectl logs --namespace {namespace} --container {CONTAINER} {pod.name}"


def _from_page(client: kfp.Client, run_id: str, namespace: str, pod: Pod) -> str:
    query = {"podname": pod.name, "podnamespace": namespace, "runid": run_id}
    text = get_text(client, "/k8s/pod/logs", query)
    if text.lstrip().startswith("<"):  # a login's page, or the page of KFP itself
        raise ValueError("it is a web page, not a log")
    return text


def _from_kubernetes(namespace: str, pod: Pod) -> str:
    from kubernetes import client, config

    try:
        api: Any = client.CoreV1Api(config.new_client_from_config())
        log: str = api.read_namespaced_pod_log(pod.name, namespace, container=CONTAINER)
    except (config.ConfigException, client.ApiException) as error:
        raise ValueError(one_line(error)) from None
    except Exception as error:  # of urllib3, or of a login that the kubeconfig asks for
        raise OSError(one_line(error)) from None
    return log
