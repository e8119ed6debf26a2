"""The file that holds a W&B run: what it says of itself, and a copy that can be sent from anywhere.

A run's log names the files of its tables by the absolute paths that they had where the run was
made, so that ``wandb sync`` of a run that was moved leaves its tables out. The log is a series of
records in the format of LevelDB's logs, after a header of wandb's own
(``core/pkg/leveldb/record.go`` of wandb).
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpipe.errors import StepError

# Where the files of tables lie, beside the runs' folders.
DATA = "data"
_STAGING = Path(DATA, "artifacts", "staging")
_HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
_BLOCK = 32 * 1024
# Checksum, length and kind of a piece of a record.
_PIECE = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True)
class LoggedRun:
    """Which run a folder holds.

    Attributes:
        entity: that it was made for; empty for the account's own.
        project: that it was made for.
        run_id: its id.
        name: what people see.
    """

    entity: str
    project: str
    run_id: str
    name: str

    @property
    def address(self) -> str:
        """Address of the project that it was made for, on its server."""
        return f"{self.entity}/{self.project}"


def read_run(folder: Path) -> LoggedRun:
    """Read which run a folder holds.

    Raises:
        StepError: it holds none.
    """
    for record in _parsed(log_of(folder)):
        if record.HasField("run"):
            run = record.run
            return LoggedRun(run.entity, run.project, run.run_id, run.display_name or run.run_id)
    raise StepError(f"{folder}: its log holds no W&B run")


def copy_run(folder: Path, target: Path) -> Path:
    """Copy a run's folder, and the files of its tables, so that they find each other.

    Args:
        folder: of the run; the files of its tables lie in ``data`` beside it, or still where they
            were written.
        target: folder for the copy.

    Returns:
        The copy.

    Raises:
        StepError: the run can't be read, or a file of a table is missing.
    """
    log, copy, staged = log_of(folder), target / folder.name, target / _STAGING
    shutil.copytree(folder / "files", copy / "files")
    staged.mkdir(parents=True, exist_ok=True)

    def moved(path: Path) -> Path:
        found = next((at for at in (folder.parent / _STAGING / path.name, path) if at.exists()), "")
        if not found:
            raise StepError(f"{folder.name}: a file of its tables is missing, {path.name}")
        return Path(shutil.copy(found, staged))

    def relocated() -> Iterator[bytes]:
        for record in _parsed(log):
            for entry in record.artifact.manifest.contents:
                if entry.local_path:
                    entry.local_path = str(moved(Path(entry.local_path)))
            yield record.SerializeToString()

    _write(copy / log.name, relocated())
    return copy


def log_of(folder: Path) -> Path:
    """The file that holds a run.

    Raises:
        StepError: the folder holds no log.
    """
    for log in folder.glob("*.wandb"):
        return log
    raise StepError(f"{folder} holds no W&B run")


def _parsed(log: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    for content in _records(log):
        yield Record.FromString(content)


def _records(log: Path) -> Iterator[bytes]:
    """The records of a log, up to the one that a process which was killed did not finish."""
    content = log.read_bytes()
    if not content.startswith(_HEADER):
        raise StepError(f"{log} is not the log of a W&B run")
    at, record = len(_HEADER), b""
    while at + _PIECE.size <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _PIECE.size:
            at += left
            continue
        checksum, length, kind = _PIECE.unpack_from(content, at)
        begin = at + _PIECE.size
        at = begin + length
        piece = content[begin:at]
        if zlib.crc32(bytes([kind]) + piece) != checksum:
            return
        record = piece if kind in (_FULL, _FIRST) else record + piece
        if kind in (_FULL, _LAST):
            yield record


def _write(log: Path, records: Iterable[bytes]) -> None:
    with log.open("wb") as file:
        file.write(_HEADER)
        for record in records:
            kinds = (_FULL, _FIRST)
            while True:
                left = _BLOCK - file.tell() % _BLOCK
                if left < _PIECE.size:
                    file.write(bytes(left))
                    continue
                piece, record = record[: left - _PIECE.size], record[left - _PIECE.size :]
                kind = kinds[bool(record)]
                file.write(_PIECE.pack(zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece)
                if not record:
                    break
                kinds = (_LAST, _MIDDLE)
