"""What reaches in from outside of the package, and what is made of it: docs/reliability.md.

Libraries read environment variables and files in the home folder when they are imported, so what
must not change a result is settled before that, in every process of the package.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Mapping

# Which operations TensorFlow's libraries choose, and how their sums are split: a result's bits.
# By name, as TF_ begins Terraform's variables too, which may hold secrets.
_OF_RESULTS = (
    *("XLA_FLAGS", "TF_XLA_FLAGS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE"),
    *("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "NVIDIA_TF32_OVERRIDE"),
    *("TF_USE_LEGACY_KERAS", "CUBLAS_WORKSPACE_CONFIG"),
)
# Whoever sets one of them means every connection: requests reads the one name (Cloud Storage, S3,
# TFDS), OpenSSL and W&B's service the other.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def prepare() -> None:
    """Settle what libraries would take from whoever started this process."""
    # Libraries that report to their makers unless that is switched off: ONNX Runtime who runs it
    # and where (four connections a minute, and a lasting id of the device), wandb its own errors.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    for one, other in (_BUNDLES, _BUNDLES[::-1]):
        if os.environ.get(one):
            os.environ.setdefault(other, os.environ[one])
    # Another backend, half precision or another order of channels (~/.keras/keras.json) would make
    # other models of the same settings, and a limit on steps a worse judge.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.devnull
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
        os.environ.pop(name, None)
    # Of a process that logs by itself: when that ends, so would what is logged here. And of a step
    # of KFP's, which may start a pipeline: kfp leaves out there what compiles and submits.
    for name in ("WANDB_SERVICE", "_KFP_RUNTIME"):
        os.environ.pop(name, None)
    _find_home()


def variables_of_results(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Those environment variables that may change the bits of a result, by name."""
    return {name: variables[name] for name in sorted(_OF_RESULTS) if name in variables}


def _find_home() -> None:
    """A home folder of its own for a user who has none that can be used, as in many pods."""
    home = os.path.expanduser("~")
    if home != "~":  # which says that there is neither HOME nor an entry in /etc/passwd
        with contextlib.suppress(OSError):
            os.makedirs(home, exist_ok=True)
        if os.access(home, os.X_OK):
            return
    folder = os.path.join(tempfile.gettempdir(), f"genpipe-{os.getuid()}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        found = os.lstat(folder)
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or found.st_mode & 0o077:  # somebody else may have put settings there
            folder = tempfile.mkdtemp(prefix="genpipe-")
    os.environ["HOME"] = folder
