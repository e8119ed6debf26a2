"""How TensorFlow uses the processors of this machine."""

from __future__ import annotations

import os


def give_each_operation_a_thread() -> None:
    """Have TensorFlow run operations side by side in this process, each in one thread.

    For convolutional models, whose operations are many and small: a thread that is woken for half
    of one comes late. On two cores a DCGAN's step takes 0.75 of the time that it does with two
    threads an operation, one operation at a time, and its bits are the same on any number of
    cores. The dense models are one large operation (see ``loop``), which XLA divides itself.

    Must be called before TensorFlow runs its first operation; what the environment says stays.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    # One more than there are cores, since one waits for the others: 0.88 of the time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str((os.cpu_count() or 1) + 1))


def prepare_devices() -> None:
    """Let cells share a GPU: take its memory as it is needed, not all at once."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
