"""Start the steps of every cell in moments: each is forked from a process that imported its code.

``kfp.local`` starts a Python for each step, and a training spends its first four seconds on
imports, most of them TensorFlow's. A server is a Python that was started as such a step is, with
its variables; it imports what steps of that kind import, touches no device, has no thread that
would be missing in a copy, and forks whenever a step is to run. Eight cells of one epoch each take
a sixth less time by it.

    worker, a thread for each cell       server                        its fork
    a socket for this step ------------> fork -----------------------> reads the command, forks the
                                                                       step, waits for its end
    exit status <-------------------------------------------------------------------------
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

_TRACKING = ("wandb", "wandb.sdk.launch.inputs.internal")  # which a run imports when it begins
_TRAINS = ("components.train.train", "genpipe.metrics.classifier", "tf2onnx", *_TRACKING)
_SCORES = (
    *("components.evaluate.evaluate", "components.evaluate.explore", "components.sample.sample"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "onnxruntime", *_TRACKING),
)
# What to import before a step is forked. The others run once, and are started as kfp does it.
MODULES = {"judge": _TRAINS, "train": _TRAINS, "evaluate": _SCORES, "sample": _SCORES}


def fork_steps() -> None:
    """From here on, ``kfp.local``'s SubprocessRunner forks the steps that cells have."""
    from kfp.local import subprocess_task_handler as handler

    start = handler.run_local_subprocess
    servers: dict[object, StepServer] = {}
    lock = threading.Lock()

    def server_of(step: str, variables: dict[str, str]) -> StepServer:
        kind = (MODULES[step], json.dumps(variables, sort_keys=True))
        with lock:
            if kind not in servers:
                servers[kind] = StepServer(MODULES[step], variables)
            return servers[kind]

    def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        step = full_command[full_command.index("--function_to_execute") + 1]
        if step == "ingest":  # the judge comes next, and has its variables
            server_of("judge", env_vars or {})
        if step not in MODULES:
            return start(full_command, env_vars)
        # sh -ec SCRIPT SOURCE ARGUMENTS: the script writes the source to a file, and runs it.
        return server_of(step, env_vars or {}).run(full_command[3], full_command[4:])

    handler.run_local_subprocess = run


class StepServer:
    """A process that forks steps, until whoever made it is gone.

    Args:
        modules: what it imports first.
        variables: environment variables that its steps have beside those of this process. What is
            imported may read them, so no other steps are to be forked from there.
    """

    def __init__(self, modules: Sequence[str], variables: Mapping[str, str]) -> None:
        self._server, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with end:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "pipelines.local.forks", *modules],
                stdin=end.fileno(),
                env={**os.environ, **variables, "_KFP_RUNTIME": "true"},
            )

    def run(self, source: str, arguments: Sequence[str]) -> int:
        """Run a step and wait for its end; threads may run several at once.

        Args:
            source: of the component, as compiled.
            arguments: of KFP's executor.

        Returns:
            Its exit status, minus the number of the signal that ended it, or 1 if the server is
            gone.
        """
        here, there = socket.socketpair()
        with here:
            try:
                with there:
                    socket.send_fds(self._server, [b"1"], [there.fileno()])
                here.sendall(json.dumps([source, *arguments]).encode())
                here.shutdown(socket.SHUT_WR)
                return int(here.recv(16) or 1)
            except OSError:
                return 1


def serve(modules: Sequence[str]) -> None:
    """Import modules, then fork a step for every socket that comes through standard input.

    Returns when its maker is gone.
    """
    # First, and with _KFP_RUNTIME set, kfp leaves out what compiles and submits.
    for module in ("kfp.dsl.executor_main", *modules):
        with contextlib.suppress(ImportError):  # a step that needs it says so
            importlib.import_module(module)
    gc.freeze()  # so that no collection writes into pages which forks share
    # From Python 3.12 on it warns of any thread: NumPy's, which OpenBLAS starts anew in a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    asked = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leaves no zombies
    while True:
        message, sockets, *_ = socket.recv_fds(asked, 1, 1)
        if not message:
            return
        if os.fork():
            os.close(sockets[0])
            continue
        asked.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with socket.socket(fileno=sockets[0]) as asker:
            with asker.makefile("rb") as request:
                source, *arguments = json.load(request)
            step = os.fork()
            if step:
                _, status = os.waitpid(step, 0)
                asker.sendall(b"%d" % os.waitstatus_to_exitcode(status))
                os._exit(0)
        status = _run_step(source, arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        # Without what imports left to be done at the end: wandb's folders are every fork's.
        os._exit(status)


def _run_step(source: str, arguments: Sequence[str]) -> int:
    from kfp.dsl.executor_main import executor_main

    with tempfile.TemporaryDirectory() as folder:
        module_path = Path(folder) / "ephemeral_component.py"
        module_path.write_text(source, encoding="utf-8")
        sys.argv[1:] = ["--component_module_path", str(module_path), *arguments]
        try:
            executor_main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1:])
