"""The one helper that applies an environment's settings to the pipeline's tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfp import dsl, kubernetes

from genpipe.surroundings import variables_of_results
from pipelines.environments import Environment
from pipelines.settings import TRAIN, Pool, Toleration

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

# The label of all our pods, and no others: what the policies of deploy/overlays select.
LABEL = ("app.kubernetes.io/part-of", "genpipe")
RUN_LABEL = "metadata.labels['pipeline/runid']"
SPOT = "cloud.google.com/gke-spot"


def place(environment: Environment, task: PipelineTask, step: str) -> PipelineTask:
    """Give a task its name on KFP's page, image, resources, nodes, retries, variables and secrets.

    Args:
        environment: where it runs.
        task: of the pipeline.
        step: that it is.
    """
    task.set_display_name(step)
    task.set_container_image(environment.image(step))
    _give_resources(environment, task, step)
    for name, value in environment.step_variables(step).items():
        task.set_env_variable(name, value)
    if not environment.caching:
        task.set_caching_options(False)
    if environment.api is None:
        return task  # what follows is of Kubernetes
    _choose_nodes(environment, task, step)
    retries = environment.retries
    if retries.count:
        task.set_retry(retries.count, retries.backoff, retries.factor, retries.max_duration)
    if environment.time_limit_seconds:
        kubernetes.set_timeout(task, environment.time_limit_seconds)
    if environment.images.pull_policy:
        kubernetes.set_image_pull_policy(task, environment.images.pull_policy)
    if environment.images.pull_secrets:
        kubernetes.set_image_pull_secrets(task, environment.images.pull_secrets)
    if environment.shared_memory and step == TRAIN:
        kubernetes.empty_dir_mount(
            task, "shared-memory", "/dev/shm", medium="Memory", size_limit=environment.shared_memory
        )
    for volume in environment.volumes:
        if step in volume.steps:
            kubernetes.mount_pvc(task, volume.claim, volume.path)
    kubernetes.add_pod_label(task, *LABEL)
    # W&B's group is the pipeline run, read from the pod itself: an argument would enter cache keys.
    kubernetes.use_field_path_as_env(task, "WANDB_RUN_GROUP", RUN_LABEL)
    wandb = environment.wandb
    if wandb.secret_name:
        kubernetes.use_secret_as_env(task, wandb.secret_name, {wandb.secret_key: "WANDB_API_KEY"})
    # KFP's cache key holds what a container is started with, and not its variables. A step that
    # comes from the cache logs nothing, so where it logs belongs to the key, and so does what may
    # change its result; kfp's executor lets arguments pass that it does not know.
    task.container_spec.args = [*_for_the_cache(environment, step), *task.container_spec.args]
    return task


def _for_the_cache(environment: Environment, step: str) -> list[str]:
    known = environment.step_variables(step)
    if environment.wandb.secret_name:
        known["WANDB_SECRET"] = environment.wandb.secret_name
    chosen = {name: value for name, value in known.items() if name.startswith("WANDB_")}
    chosen |= variables_of_results(known)
    told = " ".join(f"{name}={value}" for name, value in sorted(chosen.items()))
    return ["--variables", told] if told else []


def pipeline_config(environment: Environment) -> dsl.PipelineConfig | None:
    """What holds for the whole pipeline: how long its finished pods are kept."""
    if environment.ttl_seconds is None:
        return None
    return dsl.PipelineConfig(ttl_seconds_after_finished=environment.ttl_seconds)


def _give_resources(environment: Environment, task: PipelineTask, step: str) -> None:
    asked = environment.step(step)
    for amount, setter in (
        (asked.cpu_request, task.set_cpu_request),
        (asked.cpu_limit, task.set_cpu_limit),
        (asked.memory_request, task.set_memory_request),
        (asked.memory_limit, task.set_memory_limit),
    ):
        if amount is not None:
            setter(amount)


def _choose_nodes(environment: Environment, task: PipelineTask, step: str) -> None:
    """The node pool of a step: accelerator, node selector and tolerations belong together."""
    pool: Pool = environment.cpu
    if environment.gpu and environment.on_gpu(step):
        pool = environment.gpu
        task.set_accelerator_type(environment.gpu.resource)
        task.set_accelerator_limit(environment.gpu.count)
    selector, tolerations = dict(pool.node_selector), list(pool.tolerations)
    if pool.spot:
        selector[SPOT] = "true"
        tolerations.append(
            Toleration(key=SPOT, operator="Equal", value="true", effect="NoSchedule")
        )
    for key, value in selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
