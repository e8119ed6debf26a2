"""Where the time of a DCGAN's step goes: `python -m tests.benchmarks.operations`.

Runs twenty steps under TensorFlow's profiler and prints the time of each kind of operation in one
step, summed over threads.
"""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path

import numpy as np

from components.train.step import give_each_operation_a_thread
from genpipe.data.readers.published import IMAGE_SHAPE

STEPS = 20
SHOWN = 16


def main() -> None:
    """Profile and print the table."""
    give_each_operation_a_thread()
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from components.train.train import RESCALINGS, build
    from genpipe.families.dcgan.spec import FAMILY, DCGANSettings
    from genpipe.training.loop import Batches, TrainingLoop

    images = np.random.default_rng(0).integers(0, 256, (6000, 28, 28, 1), np.uint8)
    loop = TrainingLoop(
        build(FAMILY, DCGANSettings(latent_size=100), IMAGE_SHAPE),
        images,
        rescaling=RESCALINGS["symmetric"],
        batches=Batches(len(images), 32, 0),
        jit_compile=False,
        loss_limit=np.inf,
    )
    list(loop.run(5))
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            list(loop.run(5 + STEPS))
        trace = xplane_pb2.XSpace()
        trace.ParseFromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    spent: collections.Counter[str] = collections.Counter()
    counted: collections.Counter[str] = collections.Counter()
    for plane in trace.planes:
        for line in plane.lines:
            for event in line.events:
                name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if "while/body" not in "/" + name:
                    continue
                kind = kind.removeprefix("_MklNative").removeprefix("_Mkl")
                if "upsampled" in name and "Conv2D" in kind:
                    kind = f"{kind} of the upsampling layers"
                spent[kind] += event.duration_ps
                counted[kind] += 1
    total = sum(spent.values())
    print("| operation | times | ms | share |\n|---|---|---|---|")
    for kind, picoseconds in spent.most_common(SHOWN):
        ms = picoseconds / STEPS / 1e9
        print(f"| {kind} | {counted[kind] / STEPS:.0f} | {ms:.1f} | {picoseconds / total:.0%} |")
    rest = total - sum(value for _, value in spent.most_common(SHOWN))
    print(f"| all else | | {rest / STEPS / 1e9:.1f} | {rest / total:.0%} |")
    print(f"| all | {sum(counted.values()) / STEPS:.0f} | {total / STEPS / 1e9:.1f} | |")


if __name__ == "__main__":
    main()
