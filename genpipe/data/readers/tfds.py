"""What TensorFlow Datasets does for us: download and prepare a data set, and read it."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from genpipe.data.readers.published import DATASETS, IMAGE_SHAPE, SIZES
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker

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
    """

    name: str
    cache: Path
    version: str

    @property
    def folder(self) -> Path:
        """Where TFDS keeps it. It is there only when it is complete."""
        return self.cache / self.name / self.version

    @property
    def host(self) -> str:
        """Where TFDS downloads it from."""
        return str(urlsplit(DATASETS[self.name].url).hostname)

    def exists(self) -> bool:
        """Whether it is prepared."""
        return self.folder.is_dir()

    def prepare(self, tracker: Tracker) -> None:
        """Let TFDS download the data set, check it and prepare it.

        Safe beside another process that prepares the same: the first one done is kept.

        Args:
            tracker: reports the work.

        Raises:
            StepError: TFDS could not download or prepare, or the host sent other files.
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
                    try_download_gcs=False, force_checksums_validation=True
                )
                # TFDS announces the temporary folder on standard output.
                with contextlib.redirect_stdout(io.StringIO()):
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
            if (explained := self._explain(error)) is None:
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

    def _explain(self, error: Exception) -> Exception | None:
        import requests  # type: ignore[import-untyped, unused-ignore]
        import tensorflow as tf
        from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
        from tensorflow_datasets.core.download.util import DownloadError

        if isinstance(error, NonMatchingChecksumError):
            told = " ".join(str(error).partition("To debug")[0].split())
            told = re.sub(r", downloaded to \S+,", "", told)  # a temporary folder, gone by now
            return StepError(f"{self.host} sent another file than TFDS registered: {told}")
        if isinstance(error, (requests.RequestException, DownloadError)):
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
    return PreparedDataset(name, cache, version=str(tfds.builder_cls(name).VERSION))


def _builder(name: str, cache: Path) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name)(data_dir=str(cache))


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
