"""The compiled pipeline: what it holds, and that it changes only when it is meant to."""

from __future__ import annotations

import difflib

import pytest

from genpipe.errors import InputError
from pipelines.environments import Environment, local_environment
from pipelines.latent_fanout import build, compile_to
from pipelines.parameters import Parameters, full_budgets, quick_budgets
from tests.pipelines.golden import GOLDEN, compiled, documents, golden, steps_of


@pytest.fixture(scope="module")
def spec():
    return documents(compiled("local"))[0]


def test_the_compiled_pipeline_is_the_golden_one():
    difference = list(
        difflib.unified_diff(
            GOLDEN.read_text().splitlines(),
            golden().splitlines(),
            GOLDEN.name,
            "compiled now",
            lineterm="",
            n=2,
        )
    )
    shown = "\n".join(difference[:80])
    assert not difference, f"the compiled pipeline changed; if it is meant: make golden\n{shown}"


def test_it_compiles_to_the_same_ascii_bytes_twice(tmp_path):
    for name in ("one.yaml", "two.yaml"):
        compile_to(tmp_path / name, local_environment(), Parameters())
    one = (tmp_path / "one.yaml").read_bytes()
    assert one == (tmp_path / "two.yaml").read_bytes()
    assert one.isascii()


def test_every_task_runs_after_those_whose_output_it_reads(spec):
    tasks = spec["root"]["dag"]["tasks"]
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    (loop,) = (name for name in tasks if name.startswith("for-loop"))
    assert after["judge"] == {"ingest"}
    assert after[loop] == {"ingest", "judge"}
    assert after["compare"] == {"ingest", "judge", loop}
    assert after["publish"] == {"ingest", "judge", "compare", loop}


def test_on_a_cluster_the_first_step_looks_at_the_place_to_publish_to(tmp_path):
    """Told by its environment: an input would make all steps run again for another place."""

    def ingest(environment, publish_to):
        file = tmp_path / "pipeline.yaml"
        compile_to(file, Environment.read(environment), Parameters(publish_to=publish_to))
        spec = documents(file.read_text())[0]
        task = steps_of(spec)["tasks"]["ingest"]
        container = spec["deploymentSpec"]["executors"]["exec-ingest"]["container"]
        return task, {one["name"]: one["value"] for one in container.get("env", [])}

    task, variables = ingest("gke-gpu", "gs://models/best")
    assert not task.get("dependentTasks")
    assert task == ingest("gke-gpu", "")[0]
    assert variables["GENPIPE_PUBLISH_TO"] == "gs://models/best"
    assert variables["GENPIPE_CHECKPOINTS"] == "gs://BUCKET/checkpoints"
    assert "GENPIPE_PUBLISH_TO" not in ingest("gke-gpu", "")[1]
    # `genpipe run` has looked already.
    assert ingest("local", "/best")[1] == {}


def test_no_pod_installs_anything_when_it_starts(spec):
    for executor in spec["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(executor["container"]["command"])


def test_comparing_and_publishing_are_never_taken_from_the_cache(spec):
    tasks = spec["root"]["dag"]["tasks"]
    cached = {
        name: bool(task["cachingOptions"]) for name, task in tasks.items() if "for" not in name
    }
    assert cached == {"ingest": True, "judge": True, "compare": False, "publish": False}


def test_a_source_that_may_change_is_looked_at_before_it_is_read(tmp_path):
    own = Parameters(dataset="own", source="gs://b/images", image_size="32")
    compile_to(tmp_path / "pipeline.yaml", local_environment(), own)
    tasks = documents((tmp_path / "pipeline.yaml").read_text())[0]["root"]["dag"]["tasks"]

    assert tasks["ingest"]["dependentTasks"] == ["fingerprint"]
    read = tasks["ingest"]["inputs"]["parameters"]["fingerprint"]
    assert read["taskOutputParameter"]["producerTask"] == "fingerprint"
    assert not tasks["fingerprint"]["cachingOptions"]
    assert tasks["ingest"]["cachingOptions"]
    assert tasks["fingerprint"]["inputs"]["parameters"]["days"]["runtimeValue"]["constant"] == 0


def test_a_run_that_fails_is_told_of_where_the_steps_log_online(tmp_path):
    def outermost(environment, notify):
        file = tmp_path / "pipeline.yaml"
        told = Environment.read(environment).model_copy(update={"notify": notify})
        compile_to(file, told)
        return documents(file.read_text())[0]["root"]["dag"]["tasks"]

    for environment, notify in (("gke-gpu", None), ("cluster-cpu", True)):
        tasks = outermost(environment, notify)
        assert set(tasks) == {"exit-handler-1", "notify"}
        assert tasks["notify"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
        assert not tasks["notify"]["cachingOptions"]
    for environment, notify in (("cluster-cpu", None), ("gke-gpu", False)):
        assert "publish" in outermost(environment, notify)


def test_the_arguments_of_the_pipeline_are_the_parameters():
    pipeline = build(local_environment())
    inputs = {name: spec.default for name, spec in pipeline.component_spec.inputs.items()}
    assert inputs == Parameters().arguments()


def test_an_environment_has_defaults_of_its_own_and_a_run_goes_over_them():
    environment = Environment.read("gke-gpu")
    inputs = build(environment).component_spec.inputs
    assert inputs["cells"].default[2] == "dcgan-100 gen_interval=200 steps=4000"
    told = Parameters.checked({"dcgan.steps": 9}, environment.parameters)
    assert told.arguments()["cells"][2] == "dcgan-100 gen_interval=200 steps=9"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"vae_epoch": 3}, "vae.epochs"),
        ({"vae.epochs": 0}, "vae.epochs must lie between 1 and"),
        ({"vae": 3}, "vae=3: write vae.SETTING, or a mapping"),
        ({"vae": {"epoch": 3}}, "unknown parameter vae.epoch: did you mean vae.epochs"),
        ({"beta": 3}, "unknown parameter .beta.: did you mean vae.beta"),
        ({"settings": {}}, "unknown parameter .settings."),
        ({"vae.epochs": "three"}, "vae.epochs must be a number, got 'three'"),
        ({"latent_sizes": (2, 0)}, "latent_sizes"),
        ({"latent_sizes": ()}, "latent_sizes"),
        ({"families": ("gan",)}, "gan"),
        ({"dataset": "my images"}, "data set 'my images': use letters"),
        ({"image_size": "30"}, "image_size: images of 30 x 30"),
        ({"channels": 2}, "channels must be 0, 1 or 3, got 2"),
        ({"vae.beta": float("nan")}, "vae.beta"),
        ({"seed": -1}, "seed must lie between 0 and 2,147,483,647, got -1"),
        ({"samples": 3}, "samples must lie between 32 and 1,000,000, got 3"),
        ({"vae.learning_rate": 0}, "vae.learning_rate must lie between"),
        (
            {"publish_to": "s3://models/best"},
            "publish_to=.s3://models/best.: s3:// addresses are not supported here",
        ),
        ({"publish_to": "gs://"}, "publish_to: 'gs://' names no bucket"),
        ({"force_promote": "yes"}, "force_promote must be true or false, got 'yes'"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(values, named):
    with pytest.raises(InputError, match=named):
        Parameters.checked(values)


def test_a_relative_folder_is_made_absolute_and_an_address_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archives").mkdir()
    parameters = Parameters.checked({"source": "archives", "publish_to": "gs://models/best"})
    assert parameters.source == str(tmp_path / "archives")
    assert parameters.publish_to == "gs://models/best"


def test_quick_budgets_are_parameters_and_can_be_overridden():
    assert Parameters.checked({"vae.epochs": 7}, quick_budgets()).settings["vae"] == {"epochs": 7}
    assert Parameters.checked({}, quick_budgets()).latent_sizes == quick_budgets()["latent_sizes"]


def test_each_seed_makes_a_cell_of_its_own():
    told = Parameters.checked({"families": "vae", "latent_sizes": [2, 10], "seeds": [3, 0, 3]})

    cells = ["vae-2@3", "vae-2@0", "vae-10@3", "vae-10@0"]
    assert told.arguments()["cells"] == [cell.name for cell in told.cells] == cells
    for bad in ("x", -1, [1.5], 2**31):
        with pytest.raises(InputError, match=r"parameter seeds must "):
            Parameters.checked({"seeds": bad})


def test_a_margin_is_a_share_or_auto_and_travels_as_one_type():
    assert Parameters.checked({}).arguments()["promotion_margin"] == "auto"
    assert Parameters.checked({"promotion_margin": 0.02}).arguments()["promotion_margin"] == "0.02"
    for bad in ("much", -0.1, 2, None):
        with pytest.raises(
            InputError, match=r"promotion_margin must be auto or a share from 0 to 1"
        ):
            Parameters.checked({"promotion_margin": bad})


def test_the_full_budgets_are_those_of_gpu_environments():
    assert Environment.read("gke-gpu").parameters == full_budgets()
    assert Parameters.checked({}, full_budgets()).settings["dcgan"]["steps"] == 4000
