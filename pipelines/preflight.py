"""Before a run starts: may the places be used that it will read from and write to?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genpipe.data.names import SOURCES
from genpipe.data.readers.sources import check_source
from genpipe.errors import InputError, StepError
from genpipe.storage import NoCredentialsError
from genpipe.storage.access import check, places
from genpipe.tracking.account import check_variables
from pipelines.environments import Environment
from pipelines.parameters import Parameters

# KFP hands a task all its inputs in one argument of its process, and Linux takes no longer one. On
# KFP 2.17 a text of 125,000 bytes passed, and one of 140,000 ended its task.
LONGEST_ARGUMENT = 131_071
# What was seen there of the input of `compare`: in all, and for each cell but for the addresses of
# its three artifacts and what KFP adds to each on how to reach the store.
BYTES_IN_ALL, BYTES_A_CELL = 2_900, 781
BYTES_OF_STORES = {"minio": 299}
KUBEFLOWS_ROOT = "minio://mlpipeline/v2/artifacts"


def check_local(parameters: Parameters, runs: Path) -> None:
    """Check the data set and the places of a run on this machine.

    Args:
        parameters: of the run.
        runs: the folder that it will lie in.

    Raises:
        InputError: the data set or its source is unknown, or there are too many cells for one run.
        StepError: one can't be used; the message names the parameter, the place and the reason.
    """
    for place in places(parameters.source, publish_to=parameters.publish_to):
        check(place)
    check_source(parameters.dataset, parameters.source)
    _check_cells(len(parameters.cells), str(runs.absolute()))


def check_settings(environment: Environment, parameters: Parameters) -> None:
    """Refuse what is known to fail on a cluster, before anything is sent there.

    Raises:
        InputError: the data set is unknown, a path lies in no volume that the step which uses it
            mounts, there are too many cells for one run, or wandb would refuse one of its
            variables.
    """
    if environment.api:
        _check_cells(len(parameters.cells), environment.pipeline_root or KUBEFLOWS_ROOT)
    if parameters.source in SOURCES:
        check_source(parameters.dataset, parameters.source)
    try:
        for step in ("ingest", "fingerprint"):
            environment.check_path("source", parameters.source, step)
        environment.check_path("publish_to", parameters.publish_to, "publish")
    except ValueError as error:
        raise InputError(str(error)) from None
    try:
        check_variables(environment.step_variables("ingest"))
    except InputError as error:
        raise InputError(f"environment {environment.name}: {error}") from None


def check_cluster(
    environment: Environment, parameters: Parameters, say: Callable[[str], None]
) -> None:
    """Check the buckets of a run on a cluster, from here and with the credentials of here.

    The pods' account may be another, so what can't be known from here is no reason to refuse:
    without any credentials, and for ``s3://`` and ``minio://``, which Kubeflow's launcher alone
    uses, nothing is checked. Paths are the pods' own (see ``check_settings``). The run's first
    step, ``ingest``, checks again, as the pods may.

    Args:
        environment: where the run is to be.
        parameters: of the run.
        say: called with one line on what could not be checked.

    Raises:
        StepError: a bucket is missing, refuses these credentials, or does not answer, or the
            credentials have expired; the message names the setting, the place and the reason.
    """
    for place in places(
        parameters.source,
        publish_to=parameters.publish_to,
        pipeline_root=environment.pipeline_root or "",
        checkpoint_root=environment.checkpoint_root or "",
    ):
        if not place.uri.startswith("gs://"):
            continue
        try:
            check(place)
        except NoCredentialsError:
            say(f"{place.setting} {place.uri} was not checked: no Google Cloud credentials here")
        except StepError as error:
            raise StepError(
                f"{error} (with --no-preflight it is sent all the same: pods may have other rights)"
            ) from error


def _check_cells(count: int, root: str) -> None:
    """Refuse more cells than `compare` could be handed: it comes when all is trained.

    The estimate is low, so that nothing is refused that would have worked.

    Raises:
        InputError: says how many one run can have there.
    """
    store = BYTES_OF_STORES.get(root.partition("://")[0], 0)
    most = (LONGEST_ARGUMENT - BYTES_IN_ALL) // (BYTES_A_CELL + 3 * (len(root) + store))
    if count > most:
        raise InputError(
            f"{count:,} cells are too many for one run: with the addresses of its artifacts below "
            f"{root}, Kubeflow Pipelines can hand at most {most} to the compare step; divide the "
            "latent sizes or seeds among several runs (docs/scale.md)"
        )
