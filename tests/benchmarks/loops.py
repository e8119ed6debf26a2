"""The training loops against plain Keras ones and those of other frameworks, side by side.

Every variant is a process of its own, with the threads that its writer would have; they take
turns, so that a change of the machine's speed meets all of them alike. A round also measures a
large matrix product, the most that this machine's cores do. Ratios are medians over the rounds.
"""

from __future__ import annotations

import multiprocessing
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.families.registry import find_family
from pipelines.local.train import import_tensorflow_quietly

ROUNDS = 5
DENSE_IMAGES = 27_500
DCGAN_IMAGES = 768
PRODUCT_SIZE, PRODUCTS = 2048, 8
PLAIN, OURS, PRODUCT = "plain Keras", "ours", "matrix product"
OPTIONS: dict[str, dict[str, Any]] = {"bfloat16": {"precision": "bfloat16"}}
# What a user would take in our place, and a program that runs where it can take part.
JAX, EAGER, COMPILED = "JAX", "PyTorch", "PyTorch compiled"
PEERS = {
    JAX: "import jax, optax",
    EAGER: "import torch",
    COMPILED: "import torch; torch.compile(lambda x: x + 1)(torch.ones(1))",
}


@dataclass(frozen=True)
class Case:
    """What a round trains: a family at a latent and a batch size, and with which options."""

    family: str
    latent_size: int
    batch_size: int
    options: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Images of real data that a variant sees in one round."""
        whole = DCGAN_IMAGES if self.family == "dcgan" else DENSE_IMAGES
        return max(1, whole // self.batch_size) * self.batch_size

    @property
    def variants(self) -> tuple[str, ...]:
        """What takes turns."""
        return (PLAIN, OURS, *self.options, *peers_here(), PRODUCT)


def peers_here() -> tuple[str, ...]:
    """The peers that can run on this machine; ``missing_peers`` are the others."""
    return tuple(name for name in PEERS if name not in missing_peers())


@cache
def missing_peers() -> dict[str, str]:
    """The peers that can't run here, and the error of each."""
    missing = {}
    for name, program in PEERS.items():
        tried = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if tried.returncode:
            errors = re.findall(r"^[\w.]+(?:Error|Exception): .*$", tried.stderr, re.MULTILINE)
            missing[name] = errors[0] if errors else f"exit status {tried.returncode}"
    return missing


CASES = (
    *(Case(family, 10, size) for family in ("autoencoder", "vae") for size in (32, 128)),
    *(Case("dcgan", size, 32) for size in (2, 10)),
    Case("dcgan", 100, 32, tuple(OPTIONS)),
    Case("dcgan", 100, 128),
)


def work(pipe: Connection, case: Case, variant: str, data: Path) -> None:
    """The process of one variant: prepares, then runs a round each time it is told to.

    It answers each round with its seconds, and the end with its peak of memory in MiB.
    """
    if variant not in PEERS:
        import_tensorflow_quietly()
    train = prepare(case, variant, data)
    train()  # compiles
    pipe.send("ready")
    while pipe.recv() == "round":
        began = time.perf_counter()
        train()
        pipe.send(time.perf_counter() - began)
    pipe.send(peak_memory())


def peak_memory() -> float:
    """MiB that this process had at most; ``ru_maxrss`` would count its parent too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def prepare(case: Case, variant: str, data: Path) -> Callable[[], object]:
    """What one round of a variant runs."""
    if variant == PRODUCT:
        return matrix_products()
    images = np.load(data, mmap_mode="r")
    if variant == PLAIN:
        from tests.benchmarks import plain

        if case.family == "dcgan":
            rescaled = (images.astype(np.float32) - 127.5) / 127.5
            steps = case.images // case.batch_size
            return plain.dcgan(rescaled, case.latent_size, case.batch_size, steps)
        fit = plain.vae if case.family == "vae" else plain.autoencoder
        return fit(images.astype(np.float32) / 255, case.latent_size, case.batch_size)
    if variant in PEERS:
        return peer_loop(case, images, variant)
    return our_loop(case, images, OPTIONS.get(variant, {}))


def peer_loop(case: Case, images: np.ndarray, peer: str) -> Callable[[], object]:
    """The loop of a peer, with the learning rate that ours has."""
    settings = find_family(case.family).settings(latent_size=case.latent_size)
    given = (images, case.latent_size, case.batch_size, settings.learning_rate)
    steps = (case.images // case.batch_size,) if case.family == "dcgan" else ()
    if peer == JAX:
        from tests.benchmarks import peers_jax

        return getattr(peers_jax, case.family)(*given, *steps)
    from tests.benchmarks import peers_torch

    return getattr(peers_torch, case.family)(*given, *steps, compiled=peer == COMPILED)


def matrix_products() -> Callable[[], None]:
    """Large float32 matrix products."""
    import tensorflow as tf

    factor = tf.random.normal((PRODUCT_SIZE, PRODUCT_SIZE))

    def run() -> None:
        for _ in range(PRODUCTS):
            product = factor @ factor
        product.numpy()

    return run


def our_loop(case: Case, images: np.ndarray, options: dict[str, Any]) -> Callable[[], None]:
    """The package's loop."""
    from components.train.step import give_each_operation_a_thread

    family = find_family(case.family)
    if family.operations_side_by_side:
        give_each_operation_a_thread()

    from components.train.train import build
    from genpipe.data.dataset import RESCALINGS
    from genpipe.training.loop import Batches, TrainingLoop

    settings = family.settings(latent_size=case.latent_size, batch_size=case.batch_size, **options)
    loop = TrainingLoop(
        build(family, settings, IMAGE_SHAPE),
        images,
        rescaling=RESCALINGS[family.rescaling],
        batches=Batches(len(images), case.batch_size, settings.seed),
        jit_compile=family.compiled_on_cpus,
        loss_limit=family.loss_limit(settings),
    )
    steps = case.images // case.batch_size

    def train() -> None:
        for _ in loop.run(loop.step + steps):
            pass

    return train


def operations(case: Case) -> float:
    """Additions and multiplications that training takes for one image, in our form.

    Products with weights only. A pass back costs two passes forward, to the weights and to the
    inputs, but for the first layer of an autoencoder or VAE: nobody asks for the gradient of the
    pixels. A DCGAN's step is four passes of the generator, one of them without learning, and eight
    of the discriminator.
    """
    from components.train.train import build

    family = find_family(case.family)
    model = build(family, family.settings(latent_size=case.latent_size), IMAGE_SHAPE)
    forward = {name: 2 * sum(map(products, part.layers)) for name, part in model.parts.items()}
    if case.family == "dcgan":
        return 4 * forward["generator"] + 8 * forward["discriminator"]
    first = 2 * next(filter(None, map(products, model.encoder.layers)))
    return 3 * sum(forward.values()) - first


def products(layer: Any) -> float:
    """Multiplications of one layer for one image: of a kernel at every place of the output."""
    if not hasattr(layer, "kernel"):
        return 0
    places = np.prod(layer.output.shape[1:-1], dtype=int)
    # Folded, the 3x3 kernel over the doubled image is a 4x4 kernel over every fourth place.
    folded = 4 / 9 if type(layer).__name__ == "UpsampledConv2D" else 1
    return float(places * np.prod(layer.kernel.shape) * folded)


def take_turns(
    jobs: Mapping[Any, tuple[Case, str, Path]], rounds: int = ROUNDS
) -> tuple[dict[Any, list[float]], dict[Any, float]]:
    """Let processes of ``work`` take turns, each a round at a time.

    Args:
        jobs: what each process is given, by any name.
        rounds: how many each runs.

    Returns:
        By name, the seconds of every round, and the peak of memory in MiB.
    """
    context = multiprocessing.get_context("spawn")
    workers, pipes = {}, {}
    for name, job in jobs.items():
        pipes[name], end = context.Pipe()
        workers[name] = context.Process(target=work, args=(end, *job))
        workers[name].start()
        end.close()  # so that ``recv`` raises EOFError when the process died
        pipes[name].recv()
    seconds: dict[Any, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("round")
            seconds[name].append(pipe.recv())
    memory = {}
    for name, pipe in pipes.items():
        pipe.send("end")
        memory[name] = pipe.recv()
        workers[name].join()
    return seconds, memory


def measure(case: Case, data: Path) -> dict[str, Any]:
    """Let the variants of one case take turns.

    Returns:
        The case, ``ratio`` (ours to plain Keras), ``peer_ratios`` (ours to each peer),
        ``images_per_second`` and ``peak_memory_mib`` by variant, ``share_of_peak`` (operations a
        second, to those of a matrix product) and, where the case has options, ``option_ratios``
        (each to ours).
    """
    seconds, memory = take_turns({name: (case, name, data) for name in case.variants})

    def ratio(slow: str, fast: str) -> float:
        pairs = zip(seconds[slow], seconds[fast], strict=True)
        return statistics.median(one / other for one, other in pairs)

    trained = [variant for variant in case.variants if variant != PRODUCT]
    product = 2 * PRODUCT_SIZE**3 * PRODUCTS
    work_done = operations(case) * case.images
    return {
        **asdict(case),
        "ratio": round(ratio(PLAIN, OURS), 2),
        "peer_ratios": {name: round(ratio(name, OURS), 2) for name in peers_here()},
        "images_per_second": {
            name: round(case.images / statistics.median(seconds[name])) for name in trained
        },
        "share_of_peak": round(work_done / product * ratio(PRODUCT, OURS), 3),
        "option_ratios": {name: round(ratio(OURS, name), 2) for name in case.options},
        "peak_memory_mib": {name: round(memory[name]) for name in trained},
        "matrix_product_gflops": round(product / statistics.median(seconds[PRODUCT]) / 1e9),
    }
