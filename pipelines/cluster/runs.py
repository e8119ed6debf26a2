"""Submit the pipeline to a Kubeflow Pipelines cluster, and find, stop or retry its runs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import kfp
import kfp_server_api

from genpipe.data.names import SOURCES
from genpipe.errors import InputError, StepError
from pipelines.cluster.api import ApiError
from pipelines.cluster.listing import ensure, listed, named
from pipelines.environments import Environment
from pipelines.latent_fanout import NAME, compile_to
from pipelines.parameters import Parameters
from pipelines.settings import LATEST

ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")


def submit(
    client: kfp.Client, environment: Environment, parameters: Parameters, name: str
) -> kfp_server_api.V2beta1Run:
    """Start a run: upload the pipeline unless it is there, and run it in the experiment.

    Args:
        client: of ``connect``.
        environment: where the steps run.
        parameters: of the run.
        name: of the run, as the KFP page shows it.

    Raises:
        ApiError: the API refused, or did not answer. Without an answer the run may have started
            all the same; the message says so.
    """
    version = upload_pipeline(client, environment, parameters)
    experiment = ensure_experiment(client, environment)
    run = kfp_server_api.V2beta1Run(
        display_name=name,
        experiment_id=experiment.experiment_id,
        pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(
            parameters=parameters.arguments(), pipeline_root=environment.pipeline_root
        ),
        service_account=environment.service_account,
    )
    return start(client, run)


def start(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> kfp_server_api.V2beta1Run:
    """Start a run.

    Raises:
        ApiError: the API refused, or did not answer. Without an answer the run may have started
            all the same; the message says so.
    """
    try:
        return client.runs.run_service_create_run(run=run)
    except ApiError as error:
        if not error.undecided:
            raise
        raise ApiError(
            f"{error}; the run {run.display_name} may still have started: check "
            "`genpipe runs --environment NAME` before submitting again",
            error.status,
        ) from None


def uploaded(environment: Environment, parameters: Parameters) -> Parameters:
    """What an uploaded pipeline has for defaults: those parameters that its steps depend on.

    All others of a run are its arguments, and make no other version.
    """
    kept = {"publish_to": parameters.publish_to}
    if parameters.source not in SOURCES:
        kept |= {"dataset": parameters.dataset, "source": parameters.source}
    return Parameters.checked(kept, environment.parameters)


def upload_pipeline(
    client: kfp.Client, environment: Environment, parameters: Parameters
) -> kfp_server_api.V2beta1PipelineVersion:
    """The pipeline, compiled for an environment, as a version on the cluster.

    A version is named by the digest of its content, so the same content is uploaded once.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    namespace = client.get_user_namespace()
    pipelines = client.pipelines
    pipeline = ensure(
        lambda: named(
            pipelines.pipeline_service_list_pipelines, "pipelines", NAME, namespace=namespace
        ),
        lambda: pipelines.pipeline_service_create_pipeline(
            pipeline=kfp_server_api.V2beta1Pipeline(
                display_name=NAME,
                name=NAME,
                namespace=namespace,
                description="genpipe: generative models at several latent sizes",
            )
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compile_to(file, environment, uploaded(environment, parameters))
        version = version_name(file)
        return ensure(
            lambda: named(
                pipelines.pipeline_service_list_pipeline_versions,
                "pipeline_versions",
                version,
                pipeline_id=pipeline.pipeline_id,
            ),
            lambda: client.pipeline_uploads.upload_pipeline_version(
                str(file),
                name=version,
                pipelineid=pipeline.pipeline_id,
                description=f"compiled for {environment.name}",
            ),
        )


def version_name(file: Path) -> str:
    """The name of a compiled pipeline's version: the digest of its content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def ensure_experiment(
    client: kfp.Client, environment: Environment
) -> kfp_server_api.V2beta1Experiment:
    """The environment's experiment, created if it is missing.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    return ensure(
        lambda: find_experiment(client, environment),
        lambda: client.experiments.experiment_service_create_experiment(
            experiment=kfp_server_api.V2beta1Experiment(
                display_name=environment.experiment, namespace=client.get_user_namespace()
            )
        ),
    )


def find_experiment(
    client: kfp.Client, environment: Environment
) -> kfp_server_api.V2beta1Experiment | None:
    """The environment's experiment, or None before its first run."""
    return named(
        client.experiments.experiment_service_list_experiments,
        "experiments",
        environment.experiment,
        namespace=client.get_user_namespace(),
    )


def list_runs(client: kfp.Client, environment: Environment) -> Iterator[kfp_server_api.V2beta1Run]:
    """The runs of the environment's experiment, newest first, fetched as they are asked for."""
    experiment = find_experiment(client, environment)
    if experiment:
        yield from listed(
            client.runs.run_service_list_runs, "runs", experiment_id=experiment.experiment_id
        )


def find_run(client: kfp.Client, environment: Environment, run: str) -> kfp_server_api.V2beta1Run:
    """A run by its id, or the newest of its name in the environment's experiment.

    Raises:
        InputError: there is no such run.
        ApiError: the API refused, or did not answer.
    """
    try:
        UUID(run)
    except ValueError:
        experiment = find_experiment(client, environment)
        found = experiment and named(
            client.runs.run_service_list_runs,
            "runs",
            run,
            experiment_id=experiment.experiment_id,
        )
    else:
        try:
            found = client.get_run(run)
        except ApiError as error:
            if error.status != 404:
                raise
            found = None
    if not found and run == LATEST:
        found = next(list_runs(client, environment), None)
    if not found:
        raise InputError(
            f"there is no run {run!r} in experiment {environment.experiment} of "
            f"{environment.name}: `genpipe runs --environment {environment.name}` lists them"
        )
    return found


def state_of(run: kfp_server_api.V2beta1Run) -> str:
    """What a run is: KFP's state in lower case, ``stopping`` or ``stopped``.

    KFP 2.17 never says CANCELED of a run that was stopped. It gives the workflow no time at all and
    the run the state CANCELING, and once the workflow has ended the state of that, FAILED.
    """
    state, before = run.state, [one.state for one in run.state_history or ()][-2:-1]
    if state == "CANCELING":
        return "stopping"
    if state == "CANCELED" or (state == "FAILED" and before == ["CANCELING"]):
        return "stopped"
    return (state or "PENDING").lower()


def stop(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> None:
    """Stop a run; what its finished steps made stays.

    Raises:
        StepError: it has ended already, or the API refused.
    """
    if run.state in ENDED:
        raise StepError(f"run {run.display_name} has ended already: {state_of(run)}")
    client.terminate_run(run.run_id)


def retry(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> None:
    """Run the failed steps of a run again, and those after them.

    Raises:
        StepError: it has not failed, or the API refused.
    """
    if run.state not in ("FAILED", "CANCELED"):
        raise StepError(
            f"run {run.display_name} is {state_of(run)}: only one that failed or was stopped can "
            "be retried"
        )
    client.runs.run_service_retry_run(run_id=run.run_id)


def link(client: kfp.Client, run_id: str) -> str:
    """Address of a run's page, where ``api.host`` (or KF_PIPELINES_UI_ENDPOINT) has the page."""
    return f"{client._get_url_prefix().rstrip('/')}/#/runs/details/{run_id}"
