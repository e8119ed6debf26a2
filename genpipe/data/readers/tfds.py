"""What TensorFlow Datasets does for us: prepare a data set in its data folder, and read it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from genpipe.data.dataset import IMAGE_SHAPE
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker

SIZES = {"train": 60_000, "test": 10_000}
IMAGES_A_BATCH = 5_000


def default_cache() -> Path:
    """TFDS's own data folder: ``TFDS_DATA_DIR``, or ``~/tensorflow_datasets``.

    Raises:
        InputError: ``TFDS_DATA_DIR`` is remote.
    """
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in folder:
        raise InputError(f"TFDS_DATA_DIR is {folder}: set it to a folder of this machine")
    return Path(folder).expanduser()


@dataclass(frozen=True)
class PreparedDataset:
    """A data set's place in a TFDS data folder, prepared or not yet.

    Attributes:
        name: the data set, as TFDS calls it.
        cache: the TFDS data folder.
        version: the data set's version in TFDS, such as ``3.0.1``.
        archives: the registered sha256 of each archive, by file name.
        url: where TFDS downloads one of them from.
    """

    name: str
    cache: Path
    version: str
    archives: dict[str, str]
    url: str

    @property
    def folder(self) -> Path:
        """Where TFDS keeps it. It is there only when it is complete."""
        return self.cache / self.name / self.version

    @property
    def host(self) -> str:
        """Where TFDS downloads it from."""
        return str(urlsplit(self.url).hostname)

    def exists(self) -> bool:
        """Whether it is prepared."""
        return self.folder.is_dir()

    def prepare(
        self,
        tracker: Tracker,
        archives: Path | None = None,
        replaced: Mapping[str, bytes] | None = None,
    ) -> None:
        """Let TFDS prepare the data set, from archives on this machine or by download.

        Safe beside another process that prepares the same: the first one done is kept.

        Args:
            tracker: what is told of the work.
            archives: the folder that holds the four archives; TFDS downloads them without it.
            replaced: archives in that folder whose content was checked and whose bytes are not
                the published ones; their own digests are enforced instead.

        Raises:
            InputError: an archive has not the registered checksum.
            StepError: TFDS could not download or prepare.
        """
        import tensorflow_datasets as tfds

        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            # TFDS reuses what it extracted by the archive's name, and the names of the three data
            # sets are the same: each preparation has folders of its own. They lie in the cache, so
            # that the finished folder takes its place by a rename.
            with tempfile.TemporaryDirectory(prefix=".preparing-", dir=self.cache) as temporary:
                builder = _builder(self.name, Path(temporary, "data"))
                _count_examples(builder, tracker)
                config = tfds.download.DownloadConfig(
                    manual_dir=archives,
                    try_download_gcs=False,
                    force_checksums_validation=True,
                )
                # TFDS announces the temporary folder on standard output.
                with (
                    _registered(builder, replaced or {}),
                    contextlib.redirect_stdout(io.StringIO()),
                ):
                    builder.download_and_prepare(
                        download_dir=Path(temporary, "downloads"), download_config=config
                    )
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.rename(Path(str(builder.data_path)), self.folder)
                except OSError:
                    if not self.exists():
                        raise
        except Exception as error:
            if (explained := self._explain(error, downloading=archives is None)) is None:
                raise
            raise explained from error

    def read(self, tracker: Tracker) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Read images (n, 28, 28, 1) and labels (n,), both uint8, of ``train`` and ``test``.

        Raises:
            StepError: what TFDS prepared is damaged.
        """
        import tensorflow_datasets as tfds

        tracker.restart_clock()
        total, done = sum(SIZES.values()), 0
        arrays = {}
        try:
            builder = _builder(self.name, self.cache)
            for split, size in SIZES.items():
                if (found := builder.info.splits[split].num_examples) != size:
                    raise ValueError(f"it holds {found:,} {split} images, expected {size:,}")
                images, labels = np.empty((size, *IMAGE_SHAPE), np.uint8), np.empty(size, np.uint8)
                # One pass: TFDS's own cache of decoded images would only cost memory.
                batches = builder.as_dataset(
                    split=split,
                    batch_size=IMAGES_A_BATCH,
                    shuffle_files=False,
                    read_config=tfds.ReadConfig(try_autocache=False),
                )
                end = 0
                for batch in tfds.as_numpy(batches):
                    start, end = end, end + len(batch["label"])
                    images[start:end], labels[start:end] = batch["image"], batch["label"]
                    tracker.progress(done + end, total)
                if end != size:
                    raise ValueError(f"it ends after {end:,} of {size:,} {split} images")
                done += size
                arrays[split] = images, labels
        except Exception as error:
            raise StepError(
                f"what TFDS prepared in {self.folder} cannot be read ({_line(error)}): delete that"
                " folder and run again"
            ) from error
        return arrays

    def class_names(self) -> tuple[str, ...]:
        """The ten classes, in the order of the labels."""
        return tuple(_builder(self.name, self.cache).info.features["label"].names)

    def _explain(self, error: Exception, downloading: bool) -> Exception | None:
        import requests  # type: ignore[import-untyped, unused-ignore]
        import tensorflow as tf
        from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
        from tensorflow_datasets.core.download.util import DownloadError

        if isinstance(error, NonMatchingChecksumError):
            told = " ".join(str(error).partition("To debug")[0].split())
            told = re.sub(r", downloaded to \S+,", "", told)  # a temporary folder, gone by now
            if downloading:
                return StepError(f"{self.host} sent another file than TFDS registered: {told}")
            return InputError(f"an archive is not the one that TFDS registered: {told}")
        if downloading and isinstance(error, (requests.RequestException, DownloadError)):
            return StepError(
                f"the download of {self.name} from {self.host} failed ({_line(error)}): check the"
                " network, or choose another source"
            )
        if isinstance(error, (OSError, tf.errors.OpError)):
            return StepError(
                f"cannot prepare {self.name} in {self.cache} ({_line(error)}): check the path and"
                " the space left, or set TFDS_DATA_DIR to another folder"
            )
        return None


def find_prepared(name: str, cache: Path) -> PreparedDataset:
    """Look up what TFDS knows of a data set, without touching the network or the cache."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    builder_class = tfds.builder_cls(name)
    return PreparedDataset(
        name=name,
        cache=cache,
        version=str(builder_class.VERSION),
        archives={info.filename: info.checksum for info in builder_class.url_infos.values()},
        url=min(builder_class.url_infos),
    )


def _builder(name: str, cache: Path) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name)(data_dir=str(cache))


@contextlib.contextmanager
def _registered(builder: Any, replaced: Mapping[str, bytes]) -> Iterator[None]:
    """Have TFDS enforce other digests for some archives, for one preparation only."""
    registry = builder.url_infos
    published = dict(registry)
    for url, info in published.items():
        if (content := replaced.get(info.filename)) is not None:
            registry[url] = type(info)(
                size=type(info.size)(len(content)),
                checksum=hashlib.sha256(content).hexdigest(),
                filename=info.filename,
            )
    try:
        yield
    finally:
        registry.update(published)


def _count_examples(builder: Any, tracker: Tracker) -> None:
    """Show TFDS's work, whose own bars are off, as progress of the step."""
    generate, total, count = builder._generate_examples, sum(SIZES.values()), itertools.count(1)
    tracker.restart_clock()

    def counted(**options: Any) -> Iterator[Any]:
        for example in generate(**options):
            if (done := next(count)) % 500 == 0:
                tracker.progress(done, total)
            yield example

    builder._generate_examples = counted


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
