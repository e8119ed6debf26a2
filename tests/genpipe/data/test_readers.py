"""Images of users, of every kind that is read: what becomes of them, and what is refused."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.ingest.ingest import ingest
from genpipe import storage
from genpipe.data.dataset import SPLITS, Dataset
from genpipe.data.fitting import Fit
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker

COUNT = 400
Source = Path | str


def drawn(count: int = COUNT, shape: tuple[int, ...] = (12, 8), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def labels_of(count: int, classes: int = 4) -> np.ndarray:
    return np.arange(count) % classes


def idx(values: np.ndarray, kind: int = 0x08) -> bytes:
    """An IDX file as Yann LeCun's page describes it."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return header + values.tobytes()


def read(source: Source, tmp_path: Path, name: str = "own", **options: Any) -> Dataset:
    folder = tmp_path / "out" / "data"
    return ingest(name, str(source), folder, cache=tmp_path / "cache", tracker=Tracker(), **options)


def refused(source: Source, tmp_path: Path, told: str, **options: Any) -> None:
    """It is refused in one line, and nothing half-written is left."""
    with pytest.raises(InputError, match=told) as error:
        read(source, tmp_path, **options)
    assert "\n" not in str(error.value)
    out = tmp_path / "out"
    assert not out.exists() or list(out.iterdir()) == []


def pictures(folder: Path, *, splits: tuple[str, ...] = ("",), count: int = 100) -> Path:
    """``cat/0.png`` …, grey."""
    for number, split in enumerate(splits):
        for place, label in enumerate(("ant", "bee", "cat")):
            below = folder / split / label
            below.mkdir(parents=True)
            images = drawn(count, seed=10 * number + place)
            for name, image in enumerate(images):
                Image.fromarray(image).save(below / f"{name}.png")
    return folder


# ---- what is read


def test_idx_files_of_any_names(tmp_path: Path) -> None:
    """Named as Kannada-MNIST's; zipped or not; a byte a label."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "X_kannada_MNIST_train-idx3-ubyte.gz").write_bytes(gzip.compress(idx(drawn())))
    (folder / "y_kannada_MNIST_train-idx1-ubyte").write_bytes(idx(labels_of(COUNT).astype("u1")))
    test = drawn(50, seed=1)
    (folder / "X_kannada_MNIST_test-idx3-ubyte").write_bytes(idx(test))
    (folder / "y_kannada_MNIST_test-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx(labels_of(50).astype("u1")))
    )

    made = read(folder, tmp_path)

    assert (made.image_shape, made.class_names) == ((12, 8, 1), ("0", "1", "2", "3"))
    assert made.size("test") == 50
    assert made.size("train") + made.size("validation") == COUNT
    assert {image.tobytes() for image in made.images("test")} == {one.tobytes() for one in test}


def test_of_several_sets_the_one_that_is_named_with_labels_from_one(tmp_path: Path) -> None:
    """As EMNIST's archive holds them: six sets, and letters are counted from 1."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, first in (("letters", 1), ("digits", 0)):
        images, labels = drawn(seed=first), labels_of(COUNT).astype("u1") + first
        (folder / f"emnist-{name}-train-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"emnist-{name}-train-labels-idx1-ubyte").write_bytes(idx(labels))

    assert read(folder, tmp_path, "emnist-letters").class_names == ("1", "2", "3", "4")
    with pytest.raises(InputError, match="several IDX files with images of train: emnist-digits-"):
        read(folder, tmp_path, "other")


def test_labels_of_several_columns_and_names_of_classes(tmp_path: Path) -> None:
    """As QMNIST's: whole numbers of four bytes, the class first. And ``classes.txt``."""
    folder = tmp_path / "in"
    folder.mkdir()
    labels = np.stack([labels_of(COUNT), np.arange(COUNT)], axis=1).astype(">i4")
    (folder / "qmnist-train-images-idx3-ubyte").write_bytes(idx(drawn()))
    (folder / "qmnist-train-labels-idx2-int").write_bytes(idx(labels, 0x0C))
    (folder / "classes.txt").write_text("none\none\ntwo\nthree\nnever\n")

    made = read(folder, tmp_path)

    assert made.class_names == ("none", "one", "two", "three")  # the fifth has no images
    (folder / "classes.txt").write_text("none\none\n")
    with pytest.raises(InputError, match="labels of train are outside the 2 names: 2, 3"):
        read(folder, tmp_path)


@pytest.mark.parametrize("inside", [True, False])
def test_an_npz_file_as_keras_has_it(tmp_path: Path, inside: bool) -> None:
    colours, test = drawn(shape=(8, 8, 3)), drawn(60, (8, 8, 3), seed=1)
    folder = tmp_path / "in"
    folder.mkdir()
    columns = labels_of(COUNT)[:, None]  # as CIFAR-10's
    np.savez_compressed(
        folder / "own.npz", x_train=colours, y_train=columns, x_test=test, y_test=labels_of(60)
    )

    made = read(folder if inside else folder / "own.npz", tmp_path)

    assert (made.image_shape, made.size("test")) == ((8, 8, 3), 60)
    assert made.info["own_splits"] == ["train", "test"]


def test_an_undivided_npz_file_is_divided(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    names = np.array(["a", "b", "c", "d"])
    np.savez(path, images=drawn(2000), labels=labels_of(2000), class_names=names)

    made = read(path, tmp_path)

    assert made.class_names == ("a", "b", "c", "d")
    assert sum(made.size(split) for split in SPLITS) == 2000
    assert made.size("test") == pytest.approx(2000 / 7, rel=0.2)
    assert made.size("validation") == pytest.approx(2000 * 6 / 7 / 12, rel=0.3)


@pytest.mark.parametrize("place", ["folder", "gs", "s3"])
def test_folders_of_pictures(tmp_path: Path, place: str, request: pytest.FixtureRequest) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "bee" / "notes.txt").write_text("no picture")
    (folder / "bee" / ".hidden.png").write_bytes(b"no picture")
    source: Source = folder
    if place != "folder":
        source = request.getfixturevalue("bucket" if place == "gs" else "s3_bucket") + "/in"
        storage.upload_folder(folder, source)

    made = read(source, tmp_path)

    assert (made.image_shape, made.class_names) == ((12, 8, 1), ("ant", "bee", "cat"))
    assert sum(made.size(split) for split in SPLITS) == 300
    assert made.info["source"] == str(source)
    (image,) = (i for i, label in _pairs(made) if i.tobytes() == drawn(100, seed=2)[7].tobytes())
    assert image.shape == (12, 8, 1)


def test_folders_of_splits_stay_as_they_are(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", splits=("train", "val", "test"), count=60)
    for number in range(5):  # the same pictures in test: they must not judge
        content = (folder / "train" / "cat" / f"{number}.png").read_bytes()
        (folder / "test" / "cat" / f"again-{number}.png").write_bytes(content)

    made = read(folder, tmp_path)

    assert [made.size(split) for split in SPLITS] == [180, 180, 180]
    assert made.info["kept_out"] == {"validation": 0, "test": 5}


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    for label in range(12):
        below = tmp_path / "in" / str(label)
        below.mkdir(parents=True)
        for name, image in enumerate(drawn(40, seed=label)):
            Image.fromarray(image).save(below / f"{name}.png")

    assert read(tmp_path / "in", tmp_path).class_names == tuple(map(str, range(12)))


def test_pictures_are_upright_and_what_is_transparent_is_black(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    lying, clear = Image.new("L", (12, 8), 0), Image.new("LA", (8, 12), (255, 0))
    lying.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees when it was taken
    lying.save(folder / "ant" / "lying.png", exif=exif)
    clear.save(folder / "ant" / "clear.png")

    made = read(folder, tmp_path)

    found = [image for image, _ in _pairs(made)]
    corner = [i for i in found if i[0, 7, 0] == 255 and i.sum() == 255]
    assert len(corner) == 1
    assert sum(not image.any() for image in found) == 1


def test_other_sizes_and_colours_are_brought_to_one_shape(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    Image.new("RGB", (30, 10), (255, 255, 255)).save(folder / "ant" / "wide.png")

    made = read(folder, tmp_path, fit=Fit.parse("16x20", 1))

    assert made.image_shape == (16, 20, 1)
    assert made.info["image_rule"] == (
        "scaled by Lanczos resampling to fit 16 x 20 pixels, proportions kept, and centred on "
        "black; grey by ITU-R 601"
    )
    wide = max((image for image, _ in _pairs(made)), key=lambda image: image.mean())
    rows = np.flatnonzero(wide.any(axis=(1, 2)))
    assert (rows[0], rows[-1], wide[8].min()) == (4, 10, 255)  # 20 x 7 in the middle


def test_arrays_are_brought_to_another_shape_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=drawn(shape=(30, 30)), labels=labels_of(COUNT))

    assert read(tmp_path / "own.npz", tmp_path, fit=Fit.parse("32", 3)).image_shape == (32, 32, 3)


def test_a_set_of_tfds_with_images_of_several_sizes(tmp_path: Path) -> None:
    """Prepared by TFDS itself: what it downloads is all that a set of its own lacks here."""
    import tensorflow_datasets as tfds

    class Shapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.2.0")

        def _info(self) -> Any:
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["round", "square", "never"]),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples(200), "test": self._generate_examples(40)}

        def _generate_examples(self, count: int) -> Any:
            for key in range(count):
                side = 20 + key % 3
                image = drawn(1, (side, side, 3), seed=1000 * count + key)[0]
                yield key, {"image": image, "label": key % 2}

    made = read("tfds", tmp_path, "shapes", fit=Fit.parse("24", 0))

    assert (made.image_shape, made.class_names) == ((24, 24, 3), ("round", "square"))
    assert made.size("test") == 40
    assert made.info["tfds_dataset_version"] == "1.2.0"
    again = ingest(
        "shapes",
        "auto",
        tmp_path / "again",
        fit=Fit.parse("24", 0),
        cache=tmp_path / "cache",
        tracker=Tracker(),
    )
    assert (again.digest, again.info["source"]) == (made.digest, "prepared")


def test_a_split_of_tfds_without_labels_is_left_out(tmp_path: Path) -> None:
    """As the test split of ImageNet: TFDS has -1 for the label."""
    import tensorflow_datasets as tfds

    class Unlabelled(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = "Ask the authors."

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=(8, 8, 1)),
                "label": tfds.features.ClassLabel(num_classes=2),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples(300), "test": self._generate_examples(40)}

        def _generate_examples(self, count: int) -> Any:
            for key in range(count):
                image = drawn(1, (8, 8, 1), seed=1000 * count + key)[0]
                yield key, {"image": image, "label": key % 2 if count == 300 else -1}

    with pytest.raises(InputError, match="'unlabelled' has to be downloaded by hand"):
        read("tfds", tmp_path, "unlabelled")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path, try_download_gcs=False)
    builder = Unlabelled(data_dir=str(tmp_path / "cache"))
    builder.download_and_prepare(download_dir=tmp_path / "downloads", download_config=config)

    made = read("auto", tmp_path, "unlabelled")

    assert made.info["own_splits"] == ["train"]
    assert sum(made.size(split) for split in SPLITS) == 300


def test_what_is_no_picture_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "loose.png").write_bytes(b"no class")
    (folder / "cat" / "raw.heic").write_bytes(b"unknown")

    read(folder, tmp_path)

    assert "2 files left out, no picture of a class: cat/raw.heic, loose.png" in (
        capsys.readouterr().out
    )


def test_pictures_of_a_megabyte_each_are_read_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(tmp_path / "in")
    asked: list[int] = []
    read_files = storage.read_files

    def counted(uri: str, names: Any) -> dict[str, bytes]:
        asked.append(len(names))
        return read_files(uri, names)

    monkeypatch.setattr(storage, "read_files", counted)
    monkeypatch.setattr("genpipe.data.readers.folders.BYTES_A_BLOCK", 2000)

    made = read(folder, tmp_path)

    assert sum(made.size(split) for split in SPLITS) == sum(asked) == 300
    assert max(asked) < 30


# ---- splits that stand


def test_no_image_moves_to_another_split_when_others_are_added(tmp_path: Path) -> None:
    images, labels = drawn(3000), labels_of(3000)
    np.savez(tmp_path / "some.npz", images=images[:2000], labels=labels[:2000])
    mixed = np.random.default_rng(1).permutation(3000)
    np.savez(tmp_path / "all.npz", images=images[mixed], labels=labels[mixed])

    before = read(tmp_path / "some.npz", tmp_path / "a")
    after = read(tmp_path / "all.npz", tmp_path / "b")

    for split in SPLITS:
        own = {(image.tobytes(), label) for image, label in _pairs(before, split)}
        assert own <= {(image.tobytes(), label) for image, label in _pairs(after, split)}


def test_the_order_and_the_form_of_the_source_do_not_matter(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    images = np.concatenate([drawn(100, seed=seed) for seed in (2, 0, 1)])
    labels = np.repeat([2, 0, 1], 100)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)

    assert read(folder, tmp_path / "a").digest == read(tmp_path / "own.npz", tmp_path / "b").digest


def test_equal_images_are_in_one_split(tmp_path: Path) -> None:
    images = np.concatenate([drawn(1000)] * 2)
    np.savez(tmp_path / "own.npz", images=images, labels=labels_of(2000))

    made = read(tmp_path / "own.npz", tmp_path)

    contents = [{image.tobytes() for image in made.images(split)} for split in SPLITS]
    assert sum(map(len, contents)) == len(set.union(*contents)) == 1000
    assert sum(s["duplicates"] for s in made.info["statistics"].values()) == 1000


# ---- what is refused


def test_pictures_that_cannot_be_read_are_named_and_counted(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    for number in range(3):
        path = folder / "bee" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:60])
    (folder / "cat" / "page.jpg").write_text("<html>not found</html>")
    deep = np.full((12, 8), 1000, np.uint16)
    Image.fromarray(deep).save(folder / "cat" / "deep.png")

    refused(folder, tmp_path, r"5 pictures can't be read: bee/0\.png \(.*truncated.*skip_bad")
    refused(folder, tmp_path, r"allows 4\)", skip_bad=4)
    made = read(folder, tmp_path, skip_bad=5)

    assert sum(made.size(split) for split in SPLITS) == 297
    told = made.info["unreadable"]
    assert len(told) == 5
    assert "cat/page.jpg (cannot identify image file)" in told
    assert any("more than 8 bits" in line for line in told)


def test_mixed_shapes_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    Image.new("L", (16, 12)).save(folder / "bee" / "wide.png")

    refused(
        folder,
        tmp_path,
        r"bee/wide\.png is 12 x 16 pixels with 1 channel, ant/0\.png 12 x 8 pixels .*image_size",
    )


def test_a_shape_that_no_model_reads_is_refused_with_one_that_would_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=drawn(shape=(30, 45)), labels=labels_of(COUNT))

    refused(tmp_path / "own.npz", tmp_path, "30 x 45 pixels .*image_size 32x44 would do")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.pop("labels"), "holds images: expected x_train, y_train"),
        (lambda a: a.update(images=a["images"] / 255), "images is float64 of shape .*uint8"),
        (lambda a: a.update(labels=a["labels"][:-1]), r"labels is int64 of shape \(399,\)"),
        (lambda a: a.update(labels=np.eye(4)[a["labels"]]), "labels is float64 of shape"),
        (lambda a: a.update(images=a["images"][:1].repeat(COUNT, 0)), "all images are the same"),
        (lambda a: a.update(labels=a["labels"] * 0), "1 classes with images: 2 to 1,000"),
        (lambda a: a["labels"].put(range(8), 9), r"fewer than 10 training images: 9 \(\d\)"),
        (lambda a: a.update({k: v[:100] for k, v in a.items()}), r"validation has \d+ images: 10"),
        (
            lambda a: a.update(
                x_train=a["images"],
                y_train=a["labels"],
                x_test=drawn(40, seed=3),
                y_test=labels_of(40, 5),
            ),
            "labels of test are outside those of train: 4",
        ),
    ],
)
def test_arrays_that_are_no_labelled_images(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], Any], told: str
) -> None:
    arrays = {"images": drawn(), "labels": labels_of(COUNT)}
    change(arrays)
    np.savez(tmp_path / "own.npz", **arrays)

    refused(tmp_path / "own.npz", tmp_path, told)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("images", lambda b: b[:-100], r"images of train: the file ends 100 bytes early"),
        (
            "images",
            lambda b: b[:4] + np.frombuffer(b[4:16], ">u4").astype("<u4").tobytes() + b[16:],
            "sizes are not written high byte",
        ),
        ("images", lambda b: b[:4][::-1] + b[4:], "bytes in the wrong order"),
        ("images", lambda b: b"\x89PNG" + b, "no IDX file: it begins with 89 50 4e 47"),
        ("images.gz", lambda b: b, r"images-idx3-ubyte\.gz is no gzip archive"),
        ("images.gz", lambda b: gzip.compress(b)[:-50], "archive is damaged or truncated"),
        ("labels", lambda b: b[:7] + b"\x05" + b[8:], r"train has 400 images and \d+ labels|early"),
        ("labels", lambda b: b"", "the file ends 4 bytes early"),
    ],
)
def test_damaged_idx_files(
    tmp_path: Path, file: str, content: Callable[[bytes], bytes], told: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    files = {"images": idx(drawn()), "labels": idx(labels_of(COUNT).astype("u1"))}
    kind, _, ending = file.partition(".")
    files[kind] = content(files[kind])
    for one, written in files.items():
        name = f"train-{one}-idx{3 if one == 'images' else 1}-ubyte"
        (folder / (name + ("." + ending if ending and one == kind else ""))).write_bytes(written)

    refused(folder, tmp_path, told)


def test_what_holds_no_images_says_what_it_found(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    refused(folder, tmp_path, "no images that can be read .*found nothing")
    (folder / "all.zip").write_bytes(b"PK")
    refused(folder, tmp_path, r"found all\.zip")
    Image.new("L", (8, 8)).save(folder / "loose.png")
    refused(folder, tmp_path, r"found all\.zip, loose\.png")
    (folder / "own.npz").write_bytes(b"no archive")
    refused(folder, tmp_path, r"own\.npz can't be read as an \.npz file")


def test_classes_beside_splits_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", splits=("train", "test"))
    (folder / "dog").mkdir()
    Image.new("L", (8, 8)).save(folder / "dog" / "1.png")
    refused(folder, tmp_path, "has folders train and dog")
    (folder / "dog" / "1.png").rename(folder / "test" / "1.png")
    refused(folder, tmp_path, r"test/1\.png lies in no folder of a class")
    (folder / "test" / "eel").mkdir()
    (folder / "test" / "1.png").rename(folder / "test" / "eel" / "1.png")
    refused(folder, tmp_path, "test has the class eel, which train lacks")


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("test/a", "val/a"), "has a folder test and none called train"),
        (("one/a", "two/b"), r"lie two folders deep, such as one/a/0\.png"),
    ],
)
def test_folders_of_splits_under_other_names_are_no_classes(
    tmp_path: Path, folders: tuple[str, ...], told: str
) -> None:
    for name in folders:
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "in" / name / "0.png")

    refused(tmp_path / "in", tmp_path, told)


def test_a_folder_that_is_a_link_is_not_skipped_silently(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "cat").rename(tmp_path / "cat")
    (folder / "cat").symlink_to(tmp_path / "cat")

    refused(folder, tmp_path, "in/cat is a symlink to a folder")


def test_splits_that_are_called_sets_are_splits(tmp_path: Path) -> None:
    made = read(pictures(tmp_path / "in", splits=("training_set", "test_set")), tmp_path)

    assert (made.size("test"), len(made.class_names)) == (300, 3)


def test_files_of_another_set_are_not_taken_and_words_are_whole(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, count in (("own-train", COUNT), ("aa-train", COUNT), ("aa-test", 50)):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(drawn(count)))
        labels = labels_of(count).astype("u1")
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    assert read(folder, tmp_path).info["own_splits"] == ["train"]

    for path in list(folder.iterdir()):
        if path.name.startswith("own-train"):
            path.rename(folder / path.name.replace("own-train", "medieval-contest"))
        else:
            path.unlink()
    assert read(folder, tmp_path / "b").info["own_splits"] == ["train"]


def test_classes_have_one_order_whatever_the_hashes(tmp_path: Path) -> None:
    for label in ("1", "01", "001", "b"):
        below = tmp_path / "in" / label
        below.mkdir(parents=True)
        for name, image in enumerate(drawn(100, seed=len(label) + ord(label[-1]))):
            Image.fromarray(image).save(below / f"{name}.png")

    assert read(tmp_path / "in", tmp_path).class_names == ("001", "01", "1", "b")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": drawn(0), "labels": labels_of(0)}, "has no images to train on"),
        ({"class_names": np.array("abcd")}, r"class_names is <U4 of shape \(\)"),
        ({"class_names": np.array([["a", "b"]])}, "class_names is <U1 of shape"),
        ({"class_names": np.array(["a", "b", "c", "\n"])}, r"class '\\n': give it a name"),
        ({"images": drawn(shape=(3, 32, 32))}, "32 channels: 1 or 3 are needed"),
    ],
)
def test_arrays_of_other_forms(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    given = {"images": drawn(), "labels": labels_of(COUNT), **arrays}
    np.savez(tmp_path / "own.npz", **given)

    refused(tmp_path / "own.npz", tmp_path, told)
    if "channels" in told:
        refused(tmp_path / "own.npz", tmp_path, "with 1 or 3 channels", fit=Fit.parse("32", 0))


def test_names_of_classes_in_bytes_are_text(tmp_path: Path) -> None:
    names = np.array([b"ant", b"bee", b"cat", b"dog"])
    np.savez(tmp_path / "own.npz", images=drawn(), labels=labels_of(COUNT), class_names=names)

    assert read(tmp_path / "own.npz", tmp_path).class_names == ("ant", "bee", "cat", "dog")


@pytest.mark.parametrize(
    ("content", "told"), [(b"a\n\nb\nc\nd\n", "has an empty line"), (b"\xff", "no text in UTF-8")]
)
def test_a_bad_list_of_classes(tmp_path: Path, content: bytes, told: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "images-idx3-ubyte").write_bytes(idx(drawn()))
    (folder / "labels-idx1-ubyte").write_bytes(idx(labels_of(COUNT).astype("u1")))
    (folder / "classes.txt").write_bytes(content)

    refused(folder, tmp_path, told)


@pytest.mark.parametrize(
    ("size", "channels", "told"),
    [
        ("big", 0, "image_size 'big': write 32, or 32x48"),
        ("30", 0, "30 x 30 pixels .*image_size 32x32 would do"),
        ("128", 0, "image_size 96x96 would do"),
        ("32", 4, "channels 4: choose 1"),
    ],
)
def test_a_size_that_no_model_reads_is_refused(size: str, channels: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Fit.parse(size, channels)


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(StepError, match="gs://other"):
        read("gs://other/in", tmp_path)
    refused(f"{bucket}/nothing", tmp_path, "found nothing")


def _pairs(made: Dataset, *splits: str) -> list[tuple[np.ndarray, int]]:
    return [
        (image, int(label))
        for split in splits or SPLITS
        for image, label in zip(made.images(split), made.labels(split), strict=True)
    ]
