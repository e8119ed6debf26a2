"""Steps that are forked: what they find, how their ends are told, and what a fork may not share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from pipelines.local.forks import MODULES, StepServer

STEP = """
import json, os, signal, sys, tempfile, time
from pathlib import Path

def step(what: str) -> None:
    if what == "tell":
        found = [os.environ.get("TOLD"), "tabnanny" in sys.modules, sys.stdin.read(), os.getpid()]
        Path(os.environ["FOLDER"], f"{os.getpid()}.json").write_text(json.dumps(found))
    if what == "log":
        from wandb.sdk.data_types._private import MEDIA_TMP
        assert os.path.isdir(MEDIA_TMP.name)
        Path(os.environ["FOLDER"], f"{os.getpid()}.txt").write_text(MEDIA_TMP.name)
    if what == "wait":
        time.sleep(60)
    if what == "fail":
        sys.exit(3)
    if what == "raise":
        raise ValueError("a step's error")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


PIPELINE = """
import sys
from kfp import dsl, local
from pipelines.local.forks import fork_steps

@dsl.component(base_image="python", install_kfp_package=False)
def sample() -> bool:
    import sys
    return "components.sample.sample" in sys.modules

fork_steps()
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
sys.exit(0 if sample().output else 1)
"""


def arguments(what: str) -> list[str]:
    """What KFP's executor is started with."""
    given = {
        "inputs": {"parameterValues": {"what": what}},
        "outputs": {"outputFile": "/dev/null"},
    }
    return ["--executor_input", json.dumps(given), "--function_to_execute", "step"]


@pytest.fixture
def server(tmp_path: Path) -> StepServer:
    # A module that nothing else imports.
    return StepServer(["tabnanny"], {"TOLD": "here", "FOLDER": str(tmp_path)})


def test_steps_run_side_by_side_in_processes_of_their_own(
    server: StepServer, tmp_path: Path
) -> None:
    ends: list[int] = []

    def run() -> None:
        ends.append(server.run(STEP, arguments("tell")))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ends == [0, 0, 0, 0]
    told = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert [found[:3] for found in told] == [["here", True, ""]] * 4
    assert len({process for *_, process in told}) == 4


def test_how_a_step_ended_is_told_and_the_next_one_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = StepServer([], {"FOLDER": str(tmp_path)})

    ends = [server.run(STEP, arguments(what)) for what in ("fail", "raise", "killed", "tell")]

    assert ends == [3, 1, -9, 0]
    assert "a step's error" in capfd.readouterr().err


def test_a_server_whose_maker_is_gone_ends(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from pipelines.local.forks import StepServer\n"
        f"server = StepServer(['tabnanny'], {{'FOLDER': {str(tmp_path)!r}}})\n"
        f"assert server.run({STEP!r}, {arguments('tell')!r}) == 0\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # Its output is a pipe that the server holds too: only when both are gone does it end.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)

    assert done.returncode == -signal.SIGKILL
    assert len([*tmp_path.glob("*.json")]) == 1


def test_a_step_whose_server_is_killed_has_failed(server: StepServer) -> None:
    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            if "tabnanny" in process.cmdline():
                process.kill()

    assert server.run(STEP, arguments("tell")) == 0
    later = threading.Timer(1, kill)
    later.start()
    assert server.run(STEP, arguments("wait")) == 1
    assert server.run(STEP, arguments("tell")) == 1


def test_kfp_takes_its_steps_from_there(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(PIPELINE)

    command = [sys.executable, tmp_path / "pipeline.py", tmp_path / "outputs"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_an_import_made_outlives_the_fork_that_ends_first(tmp_path: Path) -> None:
    """wandb keeps pictures in a folder that its import makes."""
    server = StepServer(["wandb.sdk.data_types._private"], {"FOLDER": str(tmp_path)})

    assert [server.run(STEP, arguments("log")) for _ in range(2)] == [0, 0]
    folders = {path.read_text() for path in tmp_path.glob("*.txt")}
    assert len(folders) == 1


@pytest.mark.parametrize("modules", sorted(set(MODULES.values())))
def test_forks_begin_without_a_device_and_without_threads(modules: tuple[str, ...]) -> None:
    program = (
        "import importlib, json, os, sys\n"
        "import kfp.dsl.executor_main\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        "context = sys.modules.get('tensorflow.python.eager.context')\n"
        "print(json.dumps([\n"
        "    bool(context and context.context()._initialized),\n"
        "    len(os.listdir('/proc/self/task')),\n"
        "]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [False, 1]
