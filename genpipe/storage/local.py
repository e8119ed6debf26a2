"""Files and folders of this machine, which appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from genpipe.errors import InputError, StepError
from genpipe.storage.store import File, Snapshot


def cache_folder(name: str) -> Path:
    """Where this user's programs keep what can be made again: ``~/.cache/genpipe/<name>``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "genpipe" / name


class Folder:
    """A ``Store``: a path of this machine."""

    def __init__(self, uri: str | Path) -> None:
        self.path = Path(uri)

    def errors(self, uri: str) -> contextlib.AbstractContextManager[None]:
        """Nothing: what to say of an ``OSError`` depends on what was done."""
        return contextlib.nullcontext()

    def check(self, *, write: bool) -> None:
        """As ``Store``."""
        above = next(at for at in (self.path, *self.path.absolute().parents) if at.exists())
        if write:
            if not above.is_dir():
                raise StepError(f"{above} is a file, not a folder")
            if not os.access(above, os.W_OK | os.X_OK):
                raise StepError(f"cannot write to {self.path}: this user may not write to {above}")
        elif above != self.path or not os.access(above, os.R_OK):
            raise StepError(f"cannot read {self.path}: it is missing, or this user may not read it")

    def exists(self) -> bool:
        """As ``Store``."""
        return self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir()))

    def scan(self) -> Iterable[File]:
        """As ``Store``."""
        waiting = [""] if self.path.is_dir() else []
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(self.path / below) as entries:
                    for entry in entries:
                        name = f"{below}{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{name}/")
                        elif entry.is_file():
                            state = entry.stat()
                            yield File(name, state.st_size, changed=state.st_mtime_ns)
            except FileNotFoundError:  # gone meanwhile
                continue
            except OSError as error:
                raise StepError(
                    f"cannot read {self.path / below}: {error.strerror}: check who owns it"
                ) from error

    def read(self, name: str) -> bytes:
        """As ``Store``."""
        path = self.path / name
        if name and not holds(self.path, name):
            raise StepError(f"{path} is a symlink that points outside {self.path}: it is not read")
        try:
            return path.read_bytes()
        except OSError as error:
            raise StepError(f"cannot read {path}: {error.strerror}: check the path") from error

    def write(self, content: bytes) -> None:
        """As ``Store``."""
        temporary = sibling(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):  # of a folder that does not exist, for one
                temporary.unlink()
            raise StepError(
                f"cannot write {self.path}: {error.strerror}: check the path and the space left"
            ) from error

    def snapshot(self) -> Snapshot:
        """As ``Store``."""
        try:
            return Snapshot(self.path.read_bytes())
        except FileNotFoundError:
            return Snapshot(None)
        except OSError as error:
            raise StepError(f"cannot read {self.path}: {error.strerror}: check the path") from error

    def write_if_unchanged(self, content: bytes, since: Snapshot) -> bool:
        """As ``Store``; writers wait for each other at a lock file, which stays."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock.open("wb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # of a process that is killed, the kernel lets go
                if self.snapshot().content != since.content:
                    return False
                self.write(content)
                return True
        except OSError as error:
            raise StepError(
                f"cannot lock {lock}: {error.strerror}: check the path and who may write there"
            ) from error

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """As ``Store``; all of it appears at once."""
        with whole_folder(self.path, replace=True) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)

    def fetch(self, name: str, path: Path) -> None:
        """As ``Store``."""
        shutil.copyfile(self.path / name, path)

    def remove(self) -> None:
        """As ``Store``."""
        try:
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # someone else was faster
        except OSError as error:
            raise StepError(
                f"cannot remove {self.path}: {error.strerror or error}: check who owns it"
            ) from error

    def matches(self, file: File, path: Path) -> bool:
        """As ``Store``."""
        return filecmp.cmp(self.path / file.name, path, shallow=False)


@contextlib.contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A local folder that appears under its name only when all of it is written.

    Yields a temporary sibling to write into, which takes the name when the block ends and is
    removed when the block fails. A killed process leaves the sibling, whose name starts with a
    dot and ends in ``.partial``, and nothing under the name itself.

    Args:
        folder: the name.
        replace: whether a folder that holds something may be replaced.

    Raises:
        InputError: the folder holds something and ``replace`` is not set; at the end too, where
            somebody else was faster.
        StepError: writing failed.
    """
    if not replace and Folder(folder).exists():
        raise taken(folder)
    temporary = sibling(folder)
    try:
        # Not tempfile.mkdtemp: its folders are closed to the other users who read the result.
        temporary.mkdir(parents=True)
        yield temporary
        _name_folder(temporary, folder, replace=replace)
    except OSError as error:
        raise StepError(
            f"cannot write {folder}: {error.strerror or error}: check the path and the space left"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _name_folder(temporary: Path, folder: Path, *, replace: bool) -> None:
    """Give a folder its name, whoever else may be giving that name to another right now.

    Raises:
        InputError: the name is taken, and ``replace`` is not set.
        OSError: the folder can't be renamed.
    """
    while True:
        try:
            os.rename(temporary, folder)  # which does not replace a folder that holds something
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not replace:
            raise taken(folder)
        old = sibling(folder)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, old)
        shutil.rmtree(old, ignore_errors=True)


def holds(folder: Path, name: str) -> bool:
    """Whether a name below a folder, links followed, is of something in the folder."""
    return (folder / name).resolve().is_relative_to(folder.resolve())


def taken(uri: str | Path) -> InputError:
    """What to say of a name that is not free."""
    return InputError(f"{uri} already holds something: choose another name, or delete it first")


def sibling(path: Path) -> Path:
    """A temporary name beside a path, which nothing reads."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
