"""Where W&B is, and who logs there, as wandb itself takes it.

That is: its environment variables, its settings files (``~/.config/wandb/settings``, which
``wandb login --host`` writes, and ``wandb/settings`` where the process stands), and the key in one
of them or in ``~/.netrc``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genpipe.errors import InputError, StepError, shown
from genpipe.tracking.questions import Question

DEFAULT_PROJECT = "genpipe"
# What wandb's mode may be, and what it means; wandb still knows the old names.
MODES = {
    **{mode: mode for mode in ("online", "offline", "disabled")},
    "run": "online",
    "dryrun": "offline",
}
# What ``WANDB_FINISH_TIMEOUT``, wandb's own variable, sets otherwise.
UPLOAD_SECONDS = 20.0
# That sending finished runs, one after another, may take.
SYNC_SECONDS = 600
LONGEST_UPLOAD = 86_400.0
# What tells wandb to go on with one run, as a sweep's agent does: not for the runs of a pipeline's
# steps, nor for those that are sent.
OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_RESUME")
# What to say of settings that wandb refuses, in place of its words.
ADVICE = {
    "mode": "use online, offline or disabled",
    "base_url": "give a full address such as https://api.wandb.ai",
}
INVALID_PROJECT = re.compile(r"Invalid project name (.+): cannot contain")
# How wandb tells that its service got no answer.
_SILENT = "did not respond in time"
# A part of an address. wandb holds projects to this rule, and leaves entities to its server.
ENTITY = re.compile(r"[^/\\#?%:\s]{1,128}")


@dataclass(frozen=True)
class Account:
    """Where runs are logged.

    Attributes:
        mode: ``online``, ``offline`` or ``disabled``.
        host: address of the W&B server.
        entity: user or team; empty for the account's own.
        project: empty where none was chosen.
        upload_seconds: how long a step that is done waits for W&B to take what was logged.
    """

    mode: str
    host: str = ""
    entity: str = ""
    project: str = ""
    upload_seconds: float = UPLOAD_SECONDS

    def place(self, entity: str, project: str) -> str:
        """The address of a run's project, where the run itself says the rest."""
        return "/".join(filter(None, (self.host, self.entity or entity, self.project or project)))

    def variables(self) -> dict[str, str]:
        """What tells it to a process that has neither this user's files nor this folder."""
        known = {
            "WANDB_MODE": self.mode,
            "WANDB_BASE_URL": self.host,
            "WANDB_ENTITY": self.entity,
            "WANDB_PROJECT": self.project,
            "WANDB_API_KEY": _find_key(self.host) if self.mode == "online" else "",
        }
        return {name: value for name, value in known.items() if value}


def find_account() -> Account:
    """What wandb's settings say; the mode is online where there is a key, unless they set one.

    Raises:
        InputError: wandb refuses one of its settings, or there is no key for online runs.
    """
    from wandb.sdk import wandb_setup

    with _refused():
        settings = wandb_setup.singleton().settings
    _check(settings)
    mode, host = MODES[settings.mode], str(settings.base_url)
    if mode == "online" and not has_key(host):
        if _chosen(settings, "mode"):
            raise InputError(
                f"W&B's mode is online and there is no key for {host}: set WANDB_API_KEY, call "
                "`wandb login`, or set WANDB_MODE=offline"
            )
        mode = "offline"
    seconds = settings.finish_timeout if _chosen(settings, "finish_timeout") else UPLOAD_SECONDS
    return Account(mode, host, settings.entity or "", settings.project or "", seconds)


def has_key(host: str) -> bool:
    """Whether wandb finds a key, or an identity token, for a server.

    Raises:
        InputError: what it finds can't be one.
    """
    return _find_login(host) is not None


def check_variables(variables: Mapping[str, str]) -> None:
    """Check those of wandb's variables that a step will get elsewhere.

    Raises:
        InputError: wandb would refuse one.
    """
    if not any(name.startswith("WANDB_") for name in variables):
        return
    import wandb

    with _refused():
        settings = wandb.Settings()
        settings.update_from_env_vars(dict(variables))
    _check(settings)


def reach(account: Account, seconds: int) -> None:
    """Make sure, by wandb's own client, that its server answers and takes the key.

    Raises:
        StepError: it does not; the message names the server and the reason.
    """
    taken, reason = Question("key", seconds=seconds).wait()
    if taken:
        return
    reason = reason.removeprefix(f"Failed to verify credentials with {account.host}: ")
    silent = reason.removeprefix("Failed to execute API request: ")
    if not silent or _SILENT in silent:
        silent = f"no answer within {seconds} seconds"
    told = reason if silent == reason else f"it could not be reached ({silent})"
    raise StepError(f"W&B at {account.host}: {told}")


def _find_login(host: str) -> Any:
    from wandb.sdk.lib import wbauth

    with _refused():
        return wbauth.authenticate_session(
            host=host, source="genpipe", prompt=False, update_session=False
        )


def _find_key(host: str) -> str:
    return getattr(_find_login(host), "api_key", "")


def _chosen(settings: Any, name: str) -> bool:
    return name in settings.model_fields_set


def _check(settings: Any) -> None:
    """Refuse what wandb lets pass, and then fails with."""
    if settings.mode not in MODES:
        raise InputError(f"WANDB_MODE is {shown(settings.mode)}: {ADVICE['mode']}")
    if not 0 <= settings.finish_timeout <= LONGEST_UPLOAD:
        raise InputError(
            f"WANDB_FINISH_TIMEOUT is {settings.finish_timeout:g}: give seconds, as 20, at most "
            f"{LONGEST_UPLOAD:g}"
        )
    if settings.entity and not ENTITY.fullmatch(settings.entity):
        raise InputError(
            f"WANDB_ENTITY is {shown(settings.entity)}: give a W&B user or team name; no spaces "
            "and none of / \\ # ? % :"
        )


@contextlib.contextmanager
def _refused() -> Any:
    """Tell what wandb refuses of its settings in one line."""
    from pydantic import ValidationError
    from wandb.errors import Error

    try:
        yield
    except ValidationError as error:
        (first, *_) = error.errors()
        name = "_".join(map(str, first["loc"]))
        advice = ADVICE.get(name, first["msg"])
        given = shown(str(first["input"]))
        raise InputError(f"WANDB_{name.upper()} is {given}: {advice}") from None
    except Error as error:
        if project := INVALID_PROJECT.match(str(error)):
            told = f"WANDB_PROJECT is {project[1]}: none of / \\ # ? % : allowed"
            raise InputError(told) from None
        raise InputError(f"W&B's settings: {' '.join(str(error).split())}") from None
