"""What TensorFlow Datasets does for us: download and prepare a data set, and read it."""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from genpipe.data.readers.labelled import IMAGES_A_BLOCK, Block, Labelled
from genpipe.data.readers.published import DATASETS, SIZES
from genpipe.data.splits import SPLITS
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker

NOWHERE = Path("/nonexistent")


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
        name: the data set, as TFDS calls it, with its configuration: ``emnist/letters``.
        cache: the TFDS data folder.
        version: the data set's version in TFDS, such as ``3.0.1``.
        folder: where TFDS keeps it. It is there only when it is complete.
        url: one of the addresses that TFDS downloads it from; empty where it registers none.
        by_hand: whether somebody has to download it.
    """

    name: str
    cache: Path
    version: str
    folder: Path
    url: str
    by_hand: bool

    @property
    def host(self) -> str:
        """Where TFDS downloads it from."""
        return str(urlsplit(self.url).hostname or "its host")

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

    def labelled(self, source: str, tracker: Tracker) -> Labelled:
        """The images that TFDS prepared, in the splits it has of ours.

        Args:
            source: what ``dataset.json`` calls the source.
            tracker: is told of a split without labels, which is left out.

        Raises:
            StepError: what TFDS prepared is damaged; from the blocks too.
        """
        with self._readable():
            builder = _builder(self.name, self.cache)
            found = {split: info.num_examples for split, info in builder.info.splits.items()}
            sizes = {split: found[split] for split in SPLITS if split in found}
            for split, size in (SIZES if self.name in DATASETS else {}).items():
                if found.get(split) != size:
                    raise ValueError(
                        f"it holds {found.get(split)} {split} images, expected {size:,}"
                    )
        if "train" not in sizes:
            raise InputError(f"{self.name} has no split called train: {', '.join(found)}")
        names = tuple(builder.info.features["label"].names)
        facts = {
            "source": source,
            "tfds_version": version("tensorflow-datasets"),
            "tfds_dataset_version": self.version,
        }
        return Labelled(names, sizes, lambda: self._blocks(builder, sizes, tracker), facts)

    def _blocks(self, builder: Any, sizes: Mapping[str, int], tracker: Tracker) -> Iterator[Block]:
        import tensorflow_datasets as tfds

        # Images of several sizes can't be stacked.
        several = None in builder.info.features["image"].shape
        with self._readable():
            for split, size in sizes.items():
                # One pass: TFDS's own cache of decoded images would only cost memory.
                batches = builder.as_dataset(
                    split=split,
                    batch_size=1 if several else IMAGES_A_BLOCK,
                    shuffle_files=False,
                    read_config=tfds.ReadConfig(try_autocache=False),
                )
                end = 0
                for batch in tfds.as_numpy(batches):
                    if (batch["label"] < 0).any():  # so TFDS marks what nobody labelled
                        tracker.note(f"{self.name}: its {split} images have no labels: left out")
                        end = size
                        break
                    end += len(batch["label"])
                    yield Block(split, np.asarray(batch["image"], np.uint8), batch["label"])
                if end != size:
                    raise ValueError(f"it ends after {end:,} of {size:,} {split} images")

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (InputError, GeneratorExit):
            raise
        except Exception as error:
            raise StepError(
                f"what TFDS prepared in {self.folder} cannot be read ({_line(error)}): delete that"
                " folder and run again"
            ) from error

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
    """Look up what TFDS knows of a data set, without touching the network or the cache.

    Raises:
        InputError: TFDS has none of that name, or one that is no set of labelled images.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        # Elsewhere: what lies in the cache may be damaged, and is read later.
        builder = _builder(name, NOWHERE)
        if builder.name != name.partition("/")[0]:  # TFDS takes MNIST, too
            raise ValueError(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        if "/" in name and not isinstance(error, tfds.core.DatasetNotFoundError):
            raise InputError(f"data set {name!r}: {_line(error)}") from None
        near = difflib.get_close_matches(name.lower(), [*DATASETS, *tfds.list_builders()], n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(DATASETS)},"
        raise InputError(
            f"unknown data set {name!r}: {hint} Any image classification set of TensorFlow "
            "Datasets will do; for images of your own give their folder as the source"
        ) from None
    image, label = (dict(builder.info.features).get(key) for key in ("image", "label"))
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise InputError(
            f"data set {name!r} of TensorFlow Datasets is no set of labelled images: it has "
            f"{', '.join(builder.info.features)}"
        )
    folder = cache / Path(str(builder.data_path)).relative_to(NOWHERE)
    return PreparedDataset(
        name,
        cache,
        version=str(builder.version),
        folder=folder,
        by_hand=bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS),
        url=DATASETS[name].example_url
        if name in DATASETS
        else min(builder.url_infos or (), default=""),
    )


def _builder(name: str, cache: Path) -> Any:
    import tensorflow_datasets as tfds

    base, _, config = name.partition("/")
    return tfds.builder_cls(base)(data_dir=str(cache), config=config or None)


def _count_examples(builder: Any, tracker: Tracker) -> None:
    """Show TFDS's work, whose own bars are off, as progress of the step."""
    generate, count = builder._generate_examples, itertools.count(1)
    total = sum(SIZES.values()) if builder.name in DATASETS else 0
    tracker.restart_clock()

    def counted(*paths: Any, **options: Any) -> Any:
        made = generate(*paths, **options)
        # TFDS takes pipelines of Beam's too.
        return each(made) if isinstance(made, Iterator) else made

    def each(examples: Iterator[Any]) -> Iterator[Any]:
        for example in examples:
            done = next(count)
            if total and done % 500 == 0:
                tracker.progress(done, total)
            elif not total and done % 10_000 == 0:
                tracker.say(f"{builder.name}: {done:,} images prepared")
            yield example

    builder._generate_examples = counted


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
