"""Checkpoints: what the next attempt at a training goes on from, to the bit.

A checkpoint is one file, ``<step>-<sha256 of its content>.npz``, in the training's own folder below
the checkpoint root: a path of this machine, or ``gs://``. Its name appears when it is whole, and
tells whether it still is. It holds the value of every variable (weights, moving statistics, random
generators, optimizers), the history with its pictures, and where the training stands; the order of
the data follows from seed and step. Arrays and JSON only: reading one runs no code.

They are written by time alone. When a pod is deleted its container is gone about one second after
SIGTERM (seen on KFP 2.17), and writing one to a bucket may take longer.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe import storage
from genpipe.errors import StepError
from genpipe.tracking import Picture

SECONDS_BETWEEN = 60.0
# Of the time that passes: however slow the storage is, the next checkpoint waits until the last
# one's cost is less.
LARGEST_SHARE = 0.02
# With the one before the newest, if that turns out damaged.
KEPT = 2
NAME = re.compile(r"([0-9]{12})-([0-9a-f]{64})\.npz")

Row = Mapping[str, float | Picture]
# What a training must have in common with a checkpoint to go on from it, by what people call it.
Identity = Mapping[str, str | float | bool]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        step: batches learnt from.
        rows: the history, as it was logged.
        facts: the rest of the state that is not in variables, as JSON can hold it.
        variables: the values of the model's and its optimizers' variables, in the model's order.
    """

    step: int
    rows: Sequence[Row]
    facts: Mapping[str, Any]
    variables: Sequence[np.ndarray]

    def pack(self, identity: Identity) -> bytes:
        """The checkpoint of a training as the content of a file."""
        arrays = {f"variable_{place}": value for place, value in enumerate(self.variables)}

        def pack_value(value: float | Picture) -> Any:
            if not isinstance(value, Picture):
                return value
            name = f"picture_{len(arrays)}"
            arrays[name] = value.pixels
            return {"picture": name, "caption": value.caption}

        header = {
            "identity": dict(identity),
            "step": self.step,
            "rows": [{key: pack_value(one) for key, one in row.items()} for row in self.rows],
            "facts": dict(self.facts),
            "variables": len(self.variables),
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def unpack(cls, content: bytes, identity: Identity) -> Checkpoint:
        """The checkpoint in a file's content.

        Raises:
            UnusableError: it is of a training with another identity.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            _check_identity(header["identity"], identity)

            def unpack_value(value: Any) -> Any:
                if not isinstance(value, dict):
                    return value
                return Picture(arrays[value["picture"]], value["caption"])

            return cls(
                step=header["step"],
                rows=[
                    {key: unpack_value(one) for key, one in row.items()} for row in header["rows"]
                ],
                facts=header["facts"],
                variables=[arrays[f"variable_{place}"] for place in range(header["variables"])],
            )


class UnusableError(ValueError):
    """A checkpoint is damaged or of another training; the message says so."""


class Checkpoints:
    """The checkpoints of one training, in a folder of their own.

    Args:
        folder: its address, the same for every attempt at the training and for nothing else.
        seconds: between two checkpoints at least.
        say: called with what happens, in lines for people.
    """

    def __init__(
        self, folder: str, say: Callable[[str], None], seconds: float = SECONDS_BETWEEN
    ) -> None:
        self.folder = folder
        self._say = say
        self._least_pause = self._pause = seconds
        self._last = time.monotonic()
        self._names: list[str] = []
        self._written, self._cost = 0, 0.0

    def newest(self, identity: Identity) -> Checkpoint | None:
        """The newest whole checkpoint of the training; damaged ones are reported and passed over.

        Raises:
            StepError: the folder can't be read. To begin anew then would lose what it holds.
        """
        self._names = sorted(name for name in storage.list_files(self.folder) if NAME.match(name))
        for name in reversed(self._names):
            try:
                found = self._read(name, identity)
            except UnusableError as reason:
                self._say(f"checkpoint {name} is not used: {reason}")
                continue
            # The next two push out whatever else lies here.
            self._names.remove(name)
            self._names.append(name)
            return found
        return None

    def offer(self, identity: Identity, take: Callable[[], Checkpoint]) -> None:
        """Take a checkpoint and write it if it is time for one.

        A checkpoint that can't be written is reported, and training goes on without it.
        """
        began = time.monotonic()
        if began - self._last < self._pause:
            return
        try:
            self.write(take(), identity)
            self._written += 1
        except StepError as error:
            self._say(f"no checkpoint was written: {error}")
        self._last = time.monotonic()
        cost = self._last - began
        self._pause = max(self._least_pause, cost / LARGEST_SHARE)
        self._cost += cost

    def remove(self) -> None:
        """Remove the folder; a failure is only reported, since the training itself is done."""
        if self._written:
            self._say(f"checkpoints written: {self._written}, in {self._cost:.1f} s")
        try:
            storage.remove(self.folder)
        except StepError as error:
            self._say(f"the checkpoints were not removed: {error}")

    def _read(self, name: str, identity: Identity) -> Checkpoint:
        content = storage.read_bytes(storage.join(self.folder, name))
        if hashlib.sha256(content).hexdigest() != name.removesuffix(".npz").partition("-")[2]:
            raise UnusableError("it is damaged")
        return Checkpoint.unpack(content, identity)

    def write(self, checkpoint: Checkpoint, identity: Identity) -> None:
        """Write a checkpoint, and remove all but the newest two.

        Raises:
            StepError: the folder can't be written.
        """
        content = checkpoint.pack(identity)
        name = f"{checkpoint.step:012d}-{hashlib.sha256(content).hexdigest()}.npz"
        storage.write_bytes(storage.join(self.folder, name), content)
        self._names.append(name)
        while len(self._names) > KEPT:
            storage.remove(storage.join(self.folder, self._names.pop(0)))


def _check_identity(theirs: Mapping[str, Any], ours: Identity) -> None:
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            raise UnusableError(
                f"its {name} is {theirs.get(name)}, this training's {ours.get(name)}"
            )
