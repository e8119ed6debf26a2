"""Before a run starts: may the places be used that it will read from and write to?

A bucket that is missing or closed is told now, in one line, and not by the last step after hours of
training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components import storage
from components.errors import StepError
from components.ingest.sources import SOURCES
from pipelines.environments import Environment
from pipelines.parameters import Parameters


@dataclass(frozen=True)
class Place:
    """A place that a run will use.

    Attributes:
        setting: the parameter or the environment's field that names it.
        uri: its address.
        write: whether the run writes there.
    """

    setting: str
    uri: str
    write: bool


def check_local(parameters: Parameters) -> None:
    """Check the places of a run on this machine.

    Raises:
        StepError: one can't be used; the message names the parameter, the place and the reason.
    """
    for place in _places(parameters):
        _check(place)


def check_cluster(
    environment: Environment, parameters: Parameters, say: Callable[[str], None]
) -> None:
    """Check the buckets of a run on a cluster, from here and with the credentials of here.

    The pods' account may be another, so what can't be told from here is no reason to refuse:
    without any credentials, and for ``s3://`` and ``minio://``, which Kubeflow's launcher alone
    uses, nothing is checked. Folders are the pods' own.

    Args:
        environment: where the run is to be.
        parameters: of the run.
        say: is told in one line what could not be checked.

    Raises:
        StepError: a bucket is missing, refuses these credentials, or does not answer, or the
            credentials have expired; the message names the setting, the place and the reason.
    """
    for place in _places(parameters, environment):
        if not place.uri.startswith("gs://"):
            continue
        try:
            _check(place)
        except storage.NoCredentialsError:
            say(f"{place.setting} {place.uri} was not checked: no Google Cloud credentials here")
        except StepError as error:
            raise StepError(
                f"{error} (with --no-preflight it is sent all the same: pods may have other rights)"
            ) from error


def _places(parameters: Parameters, environment: Environment | None = None) -> Iterator[Place]:
    if parameters.source not in SOURCES:
        yield Place("source", parameters.source, write=False)
    if parameters.publish_to:
        yield Place("publish_to", parameters.publish_to, write=True)
    if environment and environment.pipeline_root:
        yield Place("pipeline_root", environment.pipeline_root, write=True)
    if environment and environment.checkpoint_root:
        yield Place("checkpoint_root", environment.checkpoint_root, write=True)


def _check(place: Place) -> None:
    try:
        storage.check(place.uri, write=place.write)
        if not place.write and not storage.exists(place.uri):
            raise StepError(f"there is nothing at {place.uri}: check the address")
    except storage.NoCredentialsError as error:
        raise storage.NoCredentialsError(f"{place.setting}: {error}") from error
    except StepError as error:
        raise StepError(f"{place.setting}: {error}") from error
