"""A whole small pipeline through kfp.local, as `genpipe run` runs it, and what it leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from genpipe import storage
from pipelines.cluster.api import connect
from pipelines.cluster.runs import submit
from pipelines.parameters import Parameters
from tests.e2e.small_runs import (
    DOCUMENTED,
    FAMILIES,
    GENPIPE,
    KEY,
    SURROUNDINGS,
    TRAINING_APART,
    as_small,
    genpipe,
    runs_first,
    small,
)
from tests.genpipe.tracking.fake_wandb import fake_wandb
from tests.pipelines.cluster.fake_api import FakeApi
from tests.wandb_records import read_records

pytestmark = pytest.mark.usefixtures("proxy")

SMALL = small(*FAMILIES)
# Of what is in the cache, enough for a run whose own promise is another.
ONE = small("vae")
CELLS = ("autoencoder-2", "vae-2", "dcgan-2")
STEPS = {
    *("ingest", "judge", "compare", "publish"),
    *(f"train-{cell}" for cell in CELLS),
    *(f"{step}-{cell}" for step in ("evaluate", "sample") for cell in CELLS),
}


@pytest.fixture(scope="module")
def first(place, mnist_cache):
    published = place / "published"
    arguments = ("run", *SMALL, "--name", "first", "--publish-to", str(published))
    result = genpipe(place, mnist_cache, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def run(place, first):
    return place / "runs" / "first"


def test_every_step_has_a_line_when_it_starts_and_when_it_ends(first):
    for step in STEPS:
        assert re.search(rf"^ +{re.escape(step)} +started$", first.stdout, re.M), step
    for told in ("test images +reconstructions, epoch 1", "samples, step 2"):
        # In braille dots, since no terminal with colours is attached.
        assert re.search(rf"^ +train-.*-2:\n +{told}\n  [\u2800-\u28ff ]+$", first.stdout, re.M), (
            told
        )
        assert re.search(rf"^ +{re.escape(step)} +done after", first.stdout, re.M), step


def test_nothing_is_asked_of_the_network_and_nobody_is_told(first, proxy, home):
    assert proxy.asked == []
    kept = [path for path in home.rglob("*") if "Microsoft" in path.parts]
    assert kept == []  # where ONNX Runtime keeps the device's id and what it has to send


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "compile --environment gke-gpu --tag 1 --output compiled.yaml",
        "champions rollback published vae first",
        "wandb sync first",
        "runs --environment local",
        "submit --environment local",
        "schedule list --environment local",
    ],
)
def test_no_command_asks_anything_of_the_network(command, place, run, mnist_cache, proxy):
    """Nor do those of the pages, below; those made to ask: tests/test_surroundings.py."""
    result = genpipe(place, mnist_cache, *command.split(), WANDB_API_KEY="")
    assert "Traceback" not in result.stderr
    assert (result.returncode == 0) or result.stderr.startswith("error: "), result.stderr
    assert proxy.asked == []


def test_the_terminal_ends_with_the_leaderboard_the_times_and_where_to_look(first):
    parts = ("Leaderboard of first", "Where the time went", "Where to look", "report.html")
    places = [first.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assert re.search(r"wandb leet runs/first/wandb/train-\w+-2$", first.stdout, re.M)
    assert "wandb sync" in first.stdout


def test_the_run_folder_holds_every_step_by_name(run):
    for step in STEPS:
        assert (run / step).is_dir(), step
        assert (run / "logs" / f"{step}.log").is_file(), step
    for path in (
        *("report.html", "leaderboard.json", "leaderboard.csv", "pipeline.yaml"),
        *("ingest/data/dataset.json", "judge/model/classifier.keras", "logs/kfp.log"),
        *("train-vae-2/model/decoder.keras", "train-dcgan-2/model/generator.keras"),
        *("evaluate-vae-2/evaluation/latent_scatter.png", "sample-dcgan-2/samples/grid.png"),
        *("evaluate-vae-2/evaluation/explorer.html", "evaluate-dcgan-2/explorer"),
    ):
        assert (run / path).is_file(), path


def read_as_the_launcher_does(path: Path) -> int:
    """Read an output as KFP 2.17's launcher uploads it: what is no folder is opened and read.

    Returns how many files there are. (UploadBlob of backend/src/v2/objectstore: os.ReadDir, whose
    entries are not followed, and os.Open.)
    """
    with os.scandir(path) as entries:
        return sum(
            read_as_the_launcher_does(Path(entry.path))
            if entry.is_dir(follow_symlinks=False)
            else len([Path(entry.path).read_bytes()])
            for entry in entries
        )


def test_the_launcher_can_upload_all_that_the_steps_made(place, run):
    outputs = place / "runs" / ".kfp" / "outputs" / "first"
    made = [path for path in outputs.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert {path.name for path in made} >= {"model.json", "debug-core.log", "report"}
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in made)
    assert read_as_the_launcher_does(outputs) == len(made)


def test_the_leaderboard_has_a_complete_row_for_every_cell(run):
    board = json.loads((run / "leaderboard.json").read_text())
    assert board["run"] == "first"
    rows = {(cell["family"], cell["latent_size"]): cell for cell in board["cells"]}
    assert set(rows) == {("autoencoder", 2), ("vae", 2), ("dcgan", 2)}
    assert all(cell["status"] == "complete" for cell in rows.values())
    assert rows["autoencoder", 2]["metrics"]["mean_squared_error"] < 0.07
    assert rows["vae", 2]["metrics"]["kl_divergence"] > 0.5
    assert 1 <= rows["dcgan", 2]["metrics"]["classes_covered"] <= 10
    assert rows["dcgan", 2]["metrics"]["frechet_distance"] > 0


def test_the_report_is_one_small_file(run):
    report = (run / "report.html").read_text(encoding="utf-8")
    assert len(report.encode()) < 2_000_000
    assert not re.search(r"(src|href)=.https?:", report)


@pytest.fixture(scope="module")
def tracked(run):
    """The records of every W&B run, by its name."""
    found = {}
    for folder in (run / "wandb").glob("*/offline-run-*"):
        records = read_records(folder)
        opened = next(record["run"] for record in records if record["type"] == "run")
        found[opened["display_name"]] = records
    return found


def of(records, kind):
    return [record[kind] for record in records if record["type"] == kind]


def test_every_step_leaves_a_wandb_run_of_the_group(tracked):
    opened = {name: of(records, "run")[0] for name, records in tracked.items()}
    assert set(opened) == STEPS | {f"cell-{cell}" for cell in CELLS}
    assert {one["run_group"] for one in opened.values()} == {"first"}
    for name, one in opened.items():
        assert one["job_type"] == name.split("-")[0]

    def keys(name):
        items = [history["item"] for history in of(tracked[name], "history")]
        return {re.sub(r"\..*", "", key) for item in items for key in item}

    dense = {"epoch", "loss", "validation_loss", "images_per_second", "reconstructions"}
    parts = {"reconstruction_loss", "kl_divergence"}
    assert dense <= keys("train-autoencoder-2")
    assert dense | parts | {f"validation_{part}" for part in parts} <= keys("train-vae-2")
    assert {
        *("step", "discriminator_loss", "generator_loss", "discriminator_accuracy"),
        *("images_per_second", "samples"),
    } <= keys("train-dcgan-2")
    pictures = {"reconstructions", "latent_scatter", "pictures/reconstructions"}
    assert pictures | {"latent/codes_table"} <= keys("evaluate-vae-2")
    pictures = {"samples", "pictures/samples"}
    assert pictures | {f"{one}_fitted_gaussian" for one in pictures} <= keys("sample-autoencoder-2")
    assert {"data/examples"} <= keys("ingest")
    assert {"leaderboard", "report"} <= keys("compare")
    config = opened["train-vae-2"]["config"]["update"]
    assert config["latent_size"] == 2
    assert config["beta"] == 1


def test_the_history_of_a_training_is_drawn_over_its_epochs_or_steps(tracked):
    axes = {"train-autoencoder-2": "epoch", "train-vae-2": "epoch", "train-dcgan-2": "step"}
    for name, axis in {**axes, "judge": "epoch"}.items():
        metrics = of(tracked[name], "metric")
        assert {one["step_metric"] for one in metrics if one.get("glob_name") == "*"} == {axis}
        best = {one["name"] for one in metrics if one.get("summary")}
        assert best >= ({"loss", "validation_loss"} if axis == "epoch" else set())


def test_a_table_has_a_row_a_picture_and_what_it_is_grouped_by(run, tracked):
    def table(name, key):
        """A table, and how many pictures are kept with it."""
        item = {}
        for history in of(tracked[name], "history"):
            item |= history["item"]
        (file,) = (run / "wandb").glob(f"*/*/files/{item[f'{key}.path']}")
        (kept,) = [
            artifact["manifest"]["contents"]
            for artifact in of(tracked[name], "artifact")
            if key.replace("/", "") in artifact["name"]
        ]
        pictures = [entry for entry in kept if entry["path"].endswith(".png")]
        assert all(Path(entry["local_path"]).is_file() for entry in kept)
        return json.loads(file.read_text()), len(pictures)

    rebuilt, pictures = table("evaluate-vae-2", "pictures/reconstructions")
    by = ["family", "latent_size", "class"]
    assert rebuilt["columns"] == [*by, "original", "reconstruction", "mean_squared_error"]
    assert [row[2] for row in rebuilt["data"]] == [str(digit // 2) for digit in range(20)]
    assert pictures == 40
    drawn, pictures = table("sample-dcgan-2", "pictures/samples")
    assert set(by) <= set(drawn["columns"])
    assert (len(drawn["data"]), pictures) == (32, 32)
    codes, _ = table("evaluate-vae-2", "latent/codes_table")
    assert codes["columns"] == ["x", "y", "class"]
    assert len(codes["data"]) == 1500


def test_the_run_of_a_cell_has_all_its_figures_in_its_summary(run, tracked):
    board = json.loads((run / "leaderboard.json").read_text())
    figures = {(row["family"], row["latent_size"]): row["metrics"] for row in board["cells"]}
    for cell in CELLS:
        records = tracked[f"cell-{cell}"]
        config = of(records, "run")[0]["config"]["update"]
        summary = {}
        for one in of(records, "summary"):
            summary |= one["update"]
        expected = figures[config["family"], config["latent_size"]]
        assert {name: summary[name] for name in expected} == pytest.approx(expected)
        assert summary["best_of_family"] is True


def test_lineage_leads_from_the_data_set_to_every_champion(tracked):
    made, used = {}, {}
    for name, records in tracked.items():
        for artifact in of(records, "artifact"):
            entries = artifact["manifest"].get("contents") or [{}]
            place = artifact["type"], entries[0].get("ref")
            if place[1]:
                found = used if artifact.get("use_after_commit") else made
                found.setdefault(name, {})[place] = artifact["name"]
    sources = {place for own in made.values() for place in own}
    for name, own in used.items():
        assert set(own) <= sources, name

    def reached(place):
        """Every artifact that led to one."""
        makers = [name for name, own in made.items() if place in own]
        found = {place}
        for before in [before for name in makers for before in used.get(name, {})]:
            found |= reached(before)
        return found

    champions = [place for place in made["publish"] if place[0] == "champion"]
    assert len(champions) == 3
    for champion in champions:
        assert set(made["ingest"]) <= reached(champion)
        assert any(kind == "model" for kind, _ in set(used["publish"]) & reached(champion))
    for sample in (f"sample-{cell}" for cell in CELLS):
        assert set(made["ingest"]) <= set(used[sample])


def test_the_key_of_wandb_is_in_no_log_no_artifact_and_no_report(place, run, first):
    files = [path for path in place.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in first.stdout + first.stderr


def test_the_best_cells_are_the_first_champions(place, run, first):
    report = (run / "report.html").read_text(encoding="utf-8")
    assert report.count("the first champion of its family") == 3
    for family in ("autoencoder", "vae", "dcgan"):
        assert f"{family}-2 published: first champion of its family" in first.stdout
        champion = json.loads((place / "published" / family / "champion.json").read_text())
        version = place / "published" / family / "versions" / champion["champion"]
        assert json.loads((version / "model" / "model.json").read_text())["family"] == family
        assert (champion["run"], champion["latent_size"]) == ("first", 2)


def test_a_model_of_a_run_samples_encodes_and_rebuilds_as_its_steps_did(place, run, mnist_cache):
    def ask(*words):
        result = genpipe(place, mnist_cache, *words)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    test_images = str(run / "ingest" / "data" / "test_images.npy")
    rows = list(
        csv.DictReader(ask("reconstruct", "first", "autoencoder-2", test_images).splitlines())
    )
    errors = [float(row["mean_squared_error"]) for row in rows]
    metrics = json.loads((run / "evaluate-autoencoder-2/evaluation/metrics.json").read_text())
    expected = metrics["metrics"]["mean_squared_error"]
    # Of pixels in whole steps.
    assert sum(errors) / len(errors) == pytest.approx(expected, rel=0.01)

    ask("encode", "first", "vae-2", test_images, "--output", "codes.npy")
    codes = np.load(run / "evaluate-vae-2/evaluation/latent_codes.npy")
    np.testing.assert_allclose(np.load(place / "codes.npy"), codes, atol=1e-5)

    told = ask("sample", "first", "vae", "--output", "a.npy", "--count", "3")
    assert re.search(r"VAE 2, codes from .*: a.npy: array of shape \(3, 28, 28, 1\)", told)
    ask("sample", "published", "vae", "--output", "b.npy", "--count", "3")  # the champion is that
    assert (np.load(place / "a.npy") == np.load(place / "b.npy")).all()
    ask("sample", "first", "dcgan-2", "--output", "grid.png", "--seed", "3")
    with Image.open(place / "grid.png") as picture:
        assert picture.size == (8 * 58 - 2, 8 * 58 - 2)
    few = place / "few.npy"
    np.save(few, np.load(test_images)[:13])
    ask("reconstruct", "first", "vae", str(few), "--output", "pairs.png")
    with Image.open(place / "pairs.png") as picture:
        assert picture.size == (10 * 58 - 2, 4 * 58 - 2)
        above = np.asarray(picture)[:56:2, :56:2]
    np.testing.assert_array_equal(above, np.load(few)[0, ..., 0])


def test_a_model_in_a_bucket_samples_as_the_same_one_here(place, run, mnist_cache, bucket):
    """Of a run, by cell and by family, and of a registry: what is published, and a copy of it."""
    storage.upload_folder(run, f"{bucket}/runs/first")
    storage.upload_folder(place / "published", f"{bucket}/published")
    champion = json.loads((place / "published/vae/champion.json").read_text())["champion"]
    version = place / "published/vae/versions" / champion
    places = [
        ("first", "vae-2"),
        (f"{bucket}/runs/first", "vae-2"),
        (f"{bucket}/runs/first", "vae"),
        (f"{bucket}/published", "vae"),
        (str(version / "model"), "vae"),
    ]
    made = []
    for number, (where, cell) in enumerate(places):
        words = ("sample", where, cell, "--count", "3", "--output", f"made-{number}.npy")
        result = genpipe(place, mnist_cache, *words, NO_PROXY="127.0.0.1", HOME=str(place))
        assert result.returncode == 0, result.stdout + result.stderr
        made.append(np.load(place / f"made-{number}.npy"))
    assert all((one == made[0]).all() for one in made)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample", "first", "vae-3", "--output", "x.png"], "choose from autoencoder-2, vae-2"),
        (["sample", "first", "gan", "--output", "x.png"], "no cell 'gan' in this run"),
        (
            ["sample", "runs/first/train-vae-2/model", "dcgan", "--output", "x.png"],
            "runs/first/train-vae-2/model holds vae-2, not dcgan",
        ),
        (
            ["sample", "first", "dcgan", "--output", "x.png", "--codes-from", "mixture"],
            "a DCGAN has no encoder, so only --codes-from normal works",
        ),
        (["encode", "first", "dcgan", "."], "a DCGAN has no encoder: choose a cell of autoencoder"),
        (["encode", "first", "vae", "published"], "published holds no pictures"),
        (["reconstruct", "first", "vae", "runs/first/report.html"], "can't be read as a picture"),
    ],
)
def test_what_a_model_can_not_do_is_told_in_one_line(words, told, place, run, mnist_cache):
    result = genpipe(place, mnist_cache, *words)

    assert result.returncode == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_command_of_the_tutorial_runs(place, run, mnist_cache):
    """On a run that is there, as the page says: none of its own is made."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "tutorial.md").read_text(encoding="utf-8")
    shell, python = (
        "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S))
        for language in ("sh", "python")
    )
    programs = f"{GENPIPE.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "RUN": "first", "BUDGET": "--no-such-option"}
    for command in (["bash", "-euc", shell], [sys.executable, "-c", python]):
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout
    shown = re.findall(r"^!\[.+\]\(tutorial/(.+)\)$", page, re.M)
    assert len(shown) == 7
    assert {path.name for path in (place / "pictures").iterdir()} == set(shown)
    assert {path.name for path in (docs / "tutorial").iterdir()} == set(shown)


@pytest.fixture
def cluster(place, bucket):
    """A cluster's API with a run ``RUN``, which ends as one was seen to; and its environment."""
    with FakeApi() as api:
        environment = api.environment().model_copy(update={"pipeline_root": f"{bucket}/root"})
        (place / "mine.yaml").write_text(
            yaml.safe_dump(environment.model_dump(exclude_defaults=True))
        )
        submit(connect(environment), environment, Parameters(), "first")
        api.play("deleted_pod", -1)
        yield api


@pytest.mark.parametrize("command", sorted(DOCUMENTED - TRAINING_APART, key=runs_first))
def test_every_command_of_the_pages_runs(command, place, run, mnist_cache, proxy, request):
    """As it stands there, but for names that readers put in, and with the smallest budgets."""
    arguments = as_small(command, place)
    if "mine.yaml" in arguments:
        request.getfixturevalue("cluster")

    result = genpipe(place, mnist_cache, *arguments, NO_PROXY="127.0.0.1", HOME=str(place))

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout
    assert proxy.asked == []
    if "--output json" in command:
        assert isinstance(json.loads(result.stdout), dict)


def test_the_lines_of_the_docs_open_each_kind_of_file(place, run):
    """In processes that know nothing of genpipe, but where the lines import it."""
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    section = page.partition("## A trained model, elsewhere")[2]
    snippets = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    assert len(snippets) == 3
    for snippet in snippets:
        for written, here in (("RUN", "first"), ("-10", "-2"), ("(32, 10)", "(32, 2)")):
            snippet = snippet.replace(written, here)
        command = [sys.executable, "-c", snippet + "print(images.shape, images.min() < 0)"]
        done = subprocess.run(
            command, cwd=place, env={**os.environ, **SURROUNDINGS}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"(32, 28, 28, 1) {'dcgan' in snippet}"


def test_a_run_shares_no_file_with_the_cache(run):
    """A notebook that writes into a run's folder changes no other run."""
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert {path.stat().st_nlink for path in files} == {1}


def test_an_identical_run_takes_its_steps_from_the_cache(place, run, mnist_cache):
    result = genpipe(place, mnist_cache, "run", *SMALL, "--name", "second")
    assert result.returncode == 0, result.stdout + result.stderr
    for step in STEPS - {"compare", "publish"}:
        assert re.search(rf"^ +{re.escape(step)} +from the cache", result.stdout, re.M), step
    again = place / "runs" / "second"
    names = ("train-vae-2/model/decoder.keras", "sample-dcgan-2/samples/samples.npy")
    assert all((again / name).read_bytes() == (run / name).read_bytes() for name in names)
    assert json.loads((again / "leaderboard.json").read_text())["run"] == "second"


def test_packages_of_the_folder_one_stands_in_are_not_taken_for_ours(place, run, mnist_cache):
    repository = place / "repository"
    for name in ("pipelines", "components", "kfp", "wandb"):
        (repository / name).mkdir(parents=True)
        (repository / name / "__init__.py").write_text("raise ImportError('not genpipe')\n")
    arguments = ("run", *ONE, "--runs", "../runs", "--name", "elsewhere")
    result = genpipe(repository, mnist_cache, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Leaderboard of elsewhere" in result.stdout


def test_a_diverged_cell_is_a_row_of_the_leaderboard_and_no_failure(place, run, mnist_cache):
    arguments = [*ONE, "--param", "vae.learning_rate=10"]
    result = genpipe(place, mnist_cache, "run", *arguments, "--name", "diverged")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^ +train-vae-2 +diverged: the loss was .* at step \d+", result.stdout, re.M)
    folder = place / "runs" / "diverged"
    (cell,) = json.loads((folder / "leaderboard.json").read_text())["cells"]
    assert cell["status"] == "diverged"
    assert re.search(r"at step \d+$", cell["reason"])
    assert not list(folder.glob("train-vae-2/model/*.keras"))
    assert (folder / "report.html").is_file()


def test_a_failing_step_shows_its_last_lines_and_its_log_and_is_told_of_once(place, mnist_cache):
    source = place / "archives"
    source.mkdir()
    (source / "train-images-idx3-ubyte.gz").write_bytes(b"not an archive")
    told = ("run", *SMALL, "--source", str(source), "--name", "broken")
    with fake_wandb() as server:
        logged = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        result = genpipe(place, mnist_cache, *told, **logged)
    assert result.returncode == 1
    assert "ingest failed" in result.stdout
    assert str(Path("runs", "broken", "logs", "ingest.log")) in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    (alert,) = server.asked("NotifyScriptableRunAlert")
    assert (alert["title"], alert["severity"]) == ("A run has failed", "WARN")
    assert alert["text"].startswith("broken has failed: ")


def test_what_comes_from_the_cache_is_logged_where_the_run_logs(place, run, mnist_cache, tracked):
    """The steps were logged offline: their runs go to W&B with a run that takes them over."""
    with fake_wandb() as server:
        logged = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        # Of a sweep's agent that this is started from: all steps would log to its one run.
        logged |= {"WANDB_RUN_ID": "agents", "WANDB_SWEEP_ID": "agents", "WANDB_RESUME": "must"}
        result = genpipe(place, mnist_cache, "run", *ONE, "--name", "online", **logged)
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"and to W&B: {server.url}/genpipe\n" in result.stdout
        assert "Nothing is lost" not in result.stdout  # what is said where something was not sent
        first = {
            opened["name"]: opened["displayName"]
            for opened in server.asked("UpsertBucket")
            if opened["displayName"]  # later ones change the summary alone
        }
        arrived = {name for name, _ in server.artifacts.values()}
        server.operations.clear()
        again = genpipe(place, mnist_cache, "run", *ONE, "--name", "online-2", **logged)
        assert again.returncode == 0, again.stdout + again.stderr
        assert not server.asked("NotifyScriptableRunAlert")
        assert not {opened["name"] for opened in server.asked("UpsertBucket")} & set(first)

    made_before = {"ingest", "judge", "train-vae-2", "evaluate-vae-2", "sample-vae-2"}
    opened = [of(records, "run")[0]["run_id"] for name, records in tracked.items()]
    ids = {of(tracked[name], "run")[0]["run_id"] for name in made_before}
    assert ids <= set(first)
    assert {first[run_id] for run_id in ids} == made_before
    # Those that made the cell's row and the report ran again, under ids of their own.
    assert len(set(first) - ids) == 3
    assert not (set(first) - ids) & set(opened)
    tables = [
        artifact["name"]
        for name in made_before
        for artifact in of(tracked[name], "artifact")
        if artifact["type"] == "run_table"
    ]
    assert len(tables) > 2
    assert set(tables) <= arrived


def test_ctrl_c_stops_every_step_of_a_run_without_the_cache(place, run, mnist_cache):
    environment = {**os.environ, "TFDS_DATA_DIR": str(mnist_cache), "WANDB_MODE": "offline"}
    arguments = [
        "run",
        "--families",
        "vae",
        "--vae-epochs",
        "50",
        "--name",
        "stopped",
        "--no-cache",
    ]
    with subprocess.Popen(
        [GENPIPE, *arguments],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # An earlier run has made it, with the same arguments.
            assert not re.search(r"ingest +from the cache", line)
            if re.search(r"ingest +started", line):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. " in errors
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
