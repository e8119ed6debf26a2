"""What a run's steps made: found, pulled and opened, here and on a real storage server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from genpipe import storage
from genpipe.errors import InputError, StepError
from pipelines.cli import main
from pipelines.runs.artifacts import Step, choose, fetch_report, pull, read_run
from pipelines.runs.find import find_run

RUN_ID = "0b1c2d3e-1111-4222-8333-444455556666"
RUNS = Path("no-such-folder")


def execution(number: int) -> str:
    """A uuid as the backend's driver makes one for each execution of a task."""
    return f"{number:08x}-aaaa-4bbb-8ccc-dddddddddddd"


def write(folder: Path, **files: object) -> None:
    """Files by name, ``__`` for a slash and ``_json`` for the ending; what is no bytes is JSON."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)


def metadata(latent_size: int, status: str = "complete") -> dict[str, object]:
    return {"family": "vae", "latent_size": latent_size, "status": status}


def lay_out(root: Path, *, uuids: bool = True) -> None:
    """A run of one family at two sizes, as the backend lays it out."""

    def task(name: str, number: int) -> Path:
        return root / name / execution(number) if uuids else root / name

    write(task("ingest", 1), data__dataset_json={}, data__images=bytes(3000))
    write(
        task("train-vae", 2),
        model__model_json=metadata(2),
        model__decoder=bytes(range(256)),
        metrics={"epochs": 3.0},
    )
    write(task("evaluate-2", 4), evaluation__metrics_json=metadata(2), metrics={"total_loss": 38.4})
    write(task("compare", 6), report=b"<html>the report</html>", leaderboard__leaderboard_json={})
    write(root / "driver", log=b"not a step's")
    if uuids:
        write(task("train-vae", 3), model__model_json=metadata(10, "diverged"))
        write(task("evaluate-2", 5), evaluation__metrics_json=metadata(10))


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    lay_out(tmp_path / "laid-out")
    return tmp_path / "laid-out"


@pytest.fixture(params=["bucket", "s3_bucket"])
def cluster_run(request: pytest.FixtureRequest, laid_out: Path) -> str:
    """The address of the run on a storage server: Cloud Storage's protocol, and S3's."""
    uri = f"{request.getfixturevalue(request.param)}/pipeline-root/latent-fanout/{RUN_ID}"
    storage.upload_folder(laid_out, uri)
    return uri


@pytest.fixture
def local_run(tmp_path: Path) -> Path:
    """A local run's folder, as ``LocalRun.collect`` leaves it."""
    run = tmp_path / "runs" / "mine"
    write(
        run / "train-vae-10", model__model_json=metadata(10), metrics={"epochs": 3.0}, step_json={}
    )
    write(run / "compare", report=b"<html>mine</html>", executor_output_json={})
    write(run / "logs", compare=b"words")
    (run / "report.html").write_bytes(b"<html>mine</html>")
    return run


def genpipe(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_steps_of_a_cluster_run_are_named_after_their_cells(cluster_run: str) -> None:
    steps = {step.name: step for step in read_run(cluster_run)}

    named = ["ingest", "train-vae-2", "train-vae-10", "evaluate-vae-2", "evaluate-vae-10"]
    assert list(steps) == [*named, "compare", "driver"]
    assert steps["train-vae-2"].metrics == {"epochs": 3.0}
    assert steps["train-vae-10"].status == "diverged"
    assert list(steps["train-vae-2"].artifacts["model"]) == ["decoder", "model.json"]


def test_a_layout_without_executions_is_read_too(bucket: str, tmp_path: Path) -> None:
    lay_out(tmp_path / "old", uuids=False)
    storage.upload_folder(tmp_path / "old", f"{bucket}/old")

    names = [step.name for step in read_run(f"{bucket}/old")]

    assert names[:4] == ["ingest", "train-vae-2", "evaluate-vae-2", "compare"]


def test_steps_that_left_no_cell_keep_apart(bucket: str, tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / "run" / "sample" / execution(number), metrics={"n": number})
    write(tmp_path / "run" / "sample" / execution(3), samples__metrics_json=b"{torn")
    storage.upload_folder(tmp_path / "run", f"{bucket}/run")

    names = [step.name for step in read_run(f"{bucket}/run")]

    assert names == ["sample.00000001", "sample.00000002", "sample.00000003"]


def test_list_shows_cells_sizes_and_metrics(cluster_run: str) -> None:
    shown = genpipe("artifacts", "list", cluster_run).output

    assert "vae-10  diverged" in shown
    assert "vae-2  total_loss 38.40" in shown
    assert "data  3.0 kB, 2 files" in shown
    assert "no artifacts of judge, sample, publish" in shown


def test_list_shows_a_local_run(local_run: Path) -> None:
    shown = genpipe("artifacts", "list", "mine", "--runs", local_run.parent).output

    assert "vae-10  epochs 3" in shown
    assert "executor_output" not in shown
    assert "step.json" not in shown
    assert "logs" not in shown


def test_pull_lays_a_cluster_run_out_as_a_local_one(cluster_run: str, tmp_path: Path) -> None:
    output = tmp_path / "out"

    assert pull(cluster_run, read_run(cluster_run), output) == len(storage.list_files(cluster_run))

    assert (output / "train-vae-2" / "model" / "decoder").read_bytes() == bytes(range(256))
    assert (output / "compare" / "report").read_bytes() == b"<html>the report</html>"
    assert [step.name for step in read_run(str(output))] == [
        step.name for step in read_run(cluster_run)
    ]


def test_pull_takes_the_steps_asked_for(local_run: Path, cluster_run: str, tmp_path: Path) -> None:
    for run, asked, expected in (
        (cluster_run, "vae-2", ["evaluate-vae-2", "train-vae-2"]),
        (cluster_run, "evaluate", ["evaluate-vae-10", "evaluate-vae-2"]),
        (local_run, "train-vae-10", ["train-vae-10"]),
    ):
        output = tmp_path / asked
        assert genpipe("artifacts", "pull", run, asked, "--output", output).exit_code == 0
        assert sorted(path.name for path in output.iterdir()) == expected


def test_pull_goes_on_where_it_was(cluster_run: str, tmp_path: Path) -> None:
    steps = choose(read_run(cluster_run), ["ingest", "train-vae-2"])
    pull(cluster_run, steps, tmp_path)
    whole, torn = tmp_path / "ingest/data/images", tmp_path / "train-vae-2/model/decoder"
    torn.write_bytes(bytes(256))
    before = whole.stat()

    pull(cluster_run, steps, tmp_path)

    assert torn.read_bytes() == bytes(range(256))
    assert (whole.stat().st_ino, whole.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("inner", ["../../../x", "/x"])
def test_no_object_escapes_the_output(bucket: str, tmp_path: Path, inner: str) -> None:
    # Cloud Storage takes such names; the server of these tests tidies them.
    step = Step("ingest", "ingest", artifacts={"data": {inner: storage.File(f"data/{inner}")}})

    with pytest.raises(StepError, match="would land outside"):
        pull(bucket, [step], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_there_is_refused_by_name(local_run: Path) -> None:
    with pytest.raises(InputError, match=r"no step 'smaple'.*train-vae-10, compare"):
        choose(read_run(str(local_run)), ["smaple"])


def test_a_run_is_found_by_its_id_in_an_environment(cluster_run: str, tmp_path: Path) -> None:
    file = tmp_path / "here.yaml"
    content = {"name": "here", "images": {"cpu": "genpipe-cpu:1"}}
    root = f"{cluster_run.partition('/latent-fanout')[0]}/?x=1"
    file.write_text(yaml.safe_dump(content | {"pipeline_root": root}))

    assert find_run(RUN_ID, RUNS, str(file)).uri == f"{cluster_run}?x=1"
    with pytest.raises(InputError, match="check the run's id"):
        find_run("another", RUNS, str(file))
    with pytest.raises(InputError, match="hdfs://models/runs: only gs://, s3:// and minio://"):
        find_run("hdfs://models/runs", RUNS, None)
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="doesn't set pipeline_root"):
        find_run(RUN_ID, RUNS, str(file))


def test_the_query_of_an_environments_root_says_where_its_store_is(
    s3_bucket: str, laid_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.upload_folder(laid_out, f"minio://models/v2/artifacts/latent-fanout/{RUN_ID}")
    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    query = f"endpoint={host}&disableSSL=true&s3ForcePathStyle=true&region=eu-north-1"
    file = tmp_path / "here.yaml"
    content = {"name": "here", "images": {"cpu": "genpipe-cpu:1"}}
    for scheme in ("s3", "minio"):
        root = f"{scheme}://models/v2/artifacts?{query}"
        file.write_text(yaml.safe_dump(content | {"pipeline_root": root}))
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        output = tmp_path / scheme

        done = genpipe("artifacts", "pull", RUN_ID, "--environment", file, "--output", output)
        assert done.exit_code == 0
        assert (output / "train-vae-2/model/decoder").read_bytes() == bytes(range(256))
        # The query is the cluster's own view; a variable says how to get there from here.
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(StepError, match=r"cannot reach http://127.0.0.1:9 to"):
            find_run(RUN_ID, RUNS, str(file))


def test_what_is_no_run_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'missing'"):
        find_run("missing", RUNS, None)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=f"{tmp_path} is not a run's folder: it has no finished"):
        read_run(str(tmp_path))
    with pytest.raises(InputError, match=f"no steps of a run at {bucket}/nothing"):
        read_run(f"{bucket}/nothing")
    with pytest.raises(StepError, match="gs://no-such-bucket/run does not exist"):
        read_run("gs://no-such-bucket/run")


def test_open_finds_the_report(
    local_run: Path, cluster_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)))

    here = genpipe("artifacts", "open", local_run)
    there = genpipe("artifacts", "open", cluster_run)

    assert str(local_run / "report.html") in here.output
    assert "no browser" in there.output
    assert opened[0] == (local_run / "report.html").as_uri()
    assert opened[1].endswith("/report.html")
    assert fetch_report(cluster_run).read_bytes() == b"<html>the report</html>"


def test_the_report_is_the_one_with_the_decisions_on_champions(laid_out: Path) -> None:
    write(laid_out / "publish" / execution(7), report=b"<html>decided</html>")

    assert fetch_report(str(laid_out)).read_bytes() == b"<html>decided</html>"


def test_a_run_without_a_report_is_told(local_run: Path) -> None:
    (local_run / "report.html").unlink()
    (local_run / "compare" / "report").unlink()

    with pytest.raises(InputError, match=r"no report at .*compare"):
        fetch_report(str(local_run))
