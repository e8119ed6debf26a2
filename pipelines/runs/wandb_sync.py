"""Send the W&B runs of a run's steps that are not on W&B yet."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpipe import storage
from genpipe.errors import InputError, StepError
from genpipe.tracking.account import SYNC_SECONDS, Account, find_account, has_key, reach
from genpipe.tracking.run_log import LoggedRun, copy_run, log_of, read_run
from genpipe.tracking.upload import mark_sent, marks_of, send

# What of a bucket's files W&B's runs are: a folder each, and the files of their tables; in a copy
# of a local run below their step's name.
LOGGED = re.compile(r"(?:^|/)wandb/(?:[^/]+/)??((?:offline-run-[^/]+|data)/.+)$")
TO_CHOOSE_BY = (".wandb", ".synced")
SECONDS_FOR_AN_ANSWER = 10
# What wandb says of each run that people want to read.
TOLD = ("View run", "ERROR")


@dataclass(frozen=True)
class _Unsent:
    """A W&B run that is not where it is to go.

    Attributes:
        folder: that holds it.
        run: which it is.
        place: the address that it goes to.
    """

    folder: Path
    run: LoggedRun
    place: str


def sync_wandb(uri: str, seconds: float) -> int:
    """Send the W&B runs of a run's steps that are not sent yet, by ``wandb sync``.

    Where W&B is, and the entity and project in place of those that a run was made for, wandb's own
    settings say. What is sent is marked in this user's cache, and beside it where it lies on this
    machine.

    Args:
        uri: of the run (see ``find_run``).
        seconds: that the upload may take.

    Returns:
        How many there were.

    Raises:
        InputError: there is no key for W&B, wandb refuses a setting, or there is nothing to send.
        StepError: the runs can't be read, W&B does not answer or refuses the key, or some run was
            not sent whole. What was sent stays; it can be called again.
    """
    account = find_account()
    if not has_key(account.host):
        raise InputError(
            f"there is no key for W&B at {account.host}: set WANDB_API_KEY, or run `wandb "
            "login` (set WANDB_BASE_URL for your own server)"
        )
    reach(account, SECONDS_FOR_AN_ANSWER)
    with tempfile.TemporaryDirectory(prefix="genpipe-wandb-") as temporary:
        scratch = Path(temporary)
        remote = storage.is_remote(uri)
        root = scratch / "fetched" if remote else Path(uri)
        files = _list(uri) if remote else {}
        storage.pull(uri, root, {n: file for n, file in files.items() if n.endswith(TO_CHOOSE_BY)})
        unsent = _choose([root], account)
        if not unsent:
            raise InputError(
                f"nothing to sync at {uri}: everything was already uploaded, or nothing was logged "
                f"(upload records are in {storage.cache_folder('wandb-sent')} and in the .synced "
                "files beside the logs; delete both to upload again)"
            )
        wanted = ("data/", *(f"{one.folder.name}/" for one in unsent))
        storage.pull(uri, root, {n: file for n, file in files.items() if n.startswith(wanted)})
        _send(unsent, account, seconds, scratch, _say, beside=not remote)
    return len(unsent)


def send_unsent(folders: Sequence[Path], account: Account) -> None:
    """Send those W&B runs below folders of this machine that are not on W&B yet.

    Args:
        folders: to look in.
        account: to send to.

    Raises:
        StepError: W&B does not answer or refuses the key, or some run was not sent whole.
    """
    unsent = _choose(folders, account)
    if unsent:
        reach(account, SECONDS_FOR_AN_ANSWER)
        with tempfile.TemporaryDirectory(prefix="genpipe-wandb-") as temporary:
            _send(
                unsent,
                account,
                SYNC_SECONDS,
                Path(temporary),
                lambda line: None,
                beside=True,
            )


def _send(
    unsent: Sequence[_Unsent],
    account: Account,
    seconds: float,
    scratch: Path,
    say: Callable[[str], Any],
    *,
    beside: bool,
) -> None:
    """Send copies of runs, and mark those that arrived whole.

    Raises:
        StepError: one did not.
    """
    failed, copies = {}, {}
    for one in unsent:
        try:
            copies[copy_run(one.folder, scratch / "copies")] = one
        except StepError as error:
            failed[one.run.name] = str(error)
    refused = send(list(copies), account, seconds, scratch, say)
    for copy, one in copies.items():
        if copy in refused:
            failed[one.run.name] = refused[copy]
        else:
            _mark(one, beside=beside)
    if failed:
        name, reason = next(iter(failed.items()))
        raise StepError(
            f"{len(failed)} of {len(unsent)} runs were not sent, and are not marked as sent: "
            f"{name}: {reason}"
        )


def _say(line: str) -> None:
    if any(text in line for text in TOLD):
        print(line)


def _list(uri: str) -> dict[str, storage.File]:
    """The files of W&B's runs below an address, by names relative to a folder for all of them."""
    found = {}
    for file in storage.scan(uri):
        if match := LOGGED.search(file.name):
            found[match[1]] = file
    return found


def _choose(folders: Sequence[Path], account: Account) -> list[_Unsent]:
    """The W&B runs below folders that are not where they are to go."""
    unsent = []
    found = {path for folder in folders for path in folder.rglob("offline-run-*") if path.is_dir()}
    for folder in sorted(found):
        run = read_run(folder)
        one = _Unsent(folder, run, account.place(run.entity, run.project))
        said = [mark.read_text(encoding="utf-8") for mark in marks_of(folder)]
        # An empty mark is wandb's own, which sends a run to the project that it was made for.
        elsewhere = one.place != Account("online", account.host).place(run.entity, run.project)
        if one.place in said or ("" in said and not elsewhere) or _marker(one).exists():
            continue
        unsent.append(one)
    return unsent


def _mark(sent: _Unsent, *, beside: bool) -> None:
    marker = _marker(sent)
    with contextlib.suppress(OSError):  # then it is sent again some day, to the same W&B run
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        if beside:
            mark_sent(sent.folder, sent.place)


def _marker(run: _Unsent) -> Path:
    content = hashlib.sha256(log_of(run.folder).read_bytes()).hexdigest()
    identity = "\n".join([run.place, run.run.run_id, content])
    return storage.cache_folder("wandb-sent") / hashlib.sha256(identity.encode()).hexdigest()[:32]
