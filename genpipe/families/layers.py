"""Layers (and an optimizer) of our own: Keras's functions in fewer or cheaper operations.

They are registered, so that a saved model loads with ``safe_mode=True``.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Row i of a kernel mirrored and convolved with the box (1, 1), from the rows of the kernel.
FOLD = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)


def seed_kernels(network: keras.Model, seed: int) -> None:
    """Give every kernel its Glorot-uniform values anew, fixed by ``seed`` and nothing else.

    Keras seeds an initializer from Python's global generator of random numbers, which any other
    thread of the process draws from as well.
    """
    kernels = [weight for weight in network.trainable_variables if weight.name == "kernel"]
    seeds = np.random.SeedSequence(seed).generate_state(len(kernels))
    for kernel, one in zip(kernels, seeds, strict=True):
        initializer = keras.initializers.GlorotUniform(seed=int(one))
        kernel.assign(initializer(kernel.shape))


@keras.saving.register_keras_serializable("genpipe")
class UpsampledConv2D(keras.layers.Layer):
    """Nearest upsampling by 2 and a 3x3 convolution, as one stride-2 transposed convolution.

    A 3x3 kernel over pixels that each stand twice in each direction sees every input pixel
    through a 4x4 kernel with stride 2: the 3x3 kernel convolved with the 2x2 box. The function
    is that of ``UpSampling2D(2)`` followed by ``Conv2D(filters, 3, padding="same")``, with
    2.25 times fewer multiplications. The weights are the 3x3 kernel and the bias.

    Input (batch, height, width, channels), output (batch, 2*height, 2*width, filters).
    """

    def __init__(self, filters: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights: a glorot-uniform 3x3 kernel and a zero bias, as ``Conv2D`` does."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, input_shape[-1], self.filters),
            initializer="glorot_uniform",
            autocast=False,  # folded in float32, whatever the product is computed in
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Apply the layer."""
        # Both directions at once are one small matrix product; slices with negative strides take
        # a tenth of a training step.
        channels = inputs.shape[-1]
        both = tf.constant(np.kron(FOLD, FOLD))
        folded = tf.reshape(both @ tf.reshape(self.kernel, [9, -1]), [4, 4, channels, self.filters])
        folded = tf.cast(tf.transpose(folded, [0, 1, 3, 2]), inputs.dtype)
        batch, height, width, _ = tf.unstack(tf.shape(inputs))
        outputs = tf.nn.conv2d_transpose(
            inputs, folded, [batch, 2 * height, 2 * width, self.filters], strides=2, padding="SAME"
        )
        return self.activation(tf.nn.bias_add(outputs, self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Height and width doubled, ``filters`` channels."""
        batch, height, width, _ = input_shape
        double = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *double, self.filters)

    def get_config(self) -> dict[str, Any]:
        """What the layer is rebuilt from."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "filters": self.filters, "activation": activation}


@keras.saving.register_keras_serializable("genpipe")
class OneChannelConv2D(keras.layers.Conv2D):
    """A 3x3 convolution with padding "same" to a single channel, written for CPUs.

    oneDNN computes sixteen output channels at least. Here each pixel meets all nine places of the
    kernel first, and a convolution with ones adds up what falls onto one output: the function
    and the weights of ``Conv2D(1, 3, padding="same")``, in half the time (28 x 28 x 64, forward
    and backward).

    Input (batch, height, width, channels), output (batch, height, width, 1).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"filters": 1, "kernel_size": 3, "padding": "same", **kwargs})

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """What ``Conv2D`` then adds the bias to."""
        places = tf.transpose(tf.reshape(kernel, [1, 1, 9, -1]), [0, 1, 3, 2])
        ones = tf.constant(np.eye(9).reshape(3, 3, 9, 1), inputs.dtype)
        products = tf.nn.conv2d(inputs, places, strides=1, padding="SAME")
        return tf.nn.conv2d(products, ones, strides=1, padding="SAME")


@keras.saving.register_keras_serializable("genpipe")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """``BatchNormalization`` that is TensorFlow's one fused operation.

    The same function of a batch of pictures; Keras writes it as a dozen operations, each a pass
    over memory, which takes 2 to 2.5 times as long on a CPU (28 x 28 x 64, forward and backward).

    Frozen (``trainable`` false) it goes on normalising by the batch while its network trains, and
    leaves its moving averages as they are: so did Keras up to 2.2, which Keras-GAN was written
    for. Since TensorFlow 2 a frozen layer of Keras normalises by its moving averages.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalise (batch, height, width, channels)."""
        if mask is not None:
            return super().call(inputs, training=training, mask=mask)
        averages = () if training else (self.moving_mean, self.moving_variance)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma,
            self.beta,
            *averages,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training and self.trainable:
            # The operation gives the variance that is unbiased; Keras's layer follows the plain.
            count = tf.cast(tf.size(inputs) / tf.size(mean), tf.float32)
            for moving, batch in (
                (self.moving_mean, mean),
                (self.moving_variance, variance * (1 - 1 / count)),
            ):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable("genpipe")
class ByteDropout(keras.layers.Dropout):
    """``Dropout`` that draws a random byte for each value, where Keras draws 32 bits.

    The same distribution: a value is set to 0 if its byte is below ``256 * rate``, else divided by
    ``1 - rate``. In a DCGAN's step on a CPU, Keras's masks take 9 of 120 ms.

    Args:
        rate: share of the values set to 0: a whole number of 256ths.

    Raises:
        ValueError: ``rate`` is not a whole number of 256ths.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)
        if 256 * rate != int(256 * rate):
            raise ValueError(f"a random byte can't be below 256 * {rate} with that probability")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Apply the layer; nothing is dropped but in training."""
        if not training or self.rate == 0:
            return inputs
        count = tf.size(inputs)
        words = tf.random.stateless_uniform(
            [-(-count // 4)],
            tf.cast(self.seed_generator.next(), tf.int32),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
        )
        values = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count], tf.shape(inputs))
        kept = tf.cast(values >= int(256 * self.rate), inputs.dtype)
        return inputs * (kept / (1 - self.rate))


@keras.saving.register_keras_serializable("genpipe")
class FusedAdam(keras.optimizers.Adam):
    """``Adam`` whose update of a variable is TensorFlow's one fused operation.

    The same function (Kingma & Ba 2014, the efficient form at the end of section 2); Keras writes
    it as a dozen operations for each of the DCGAN's thirty variables.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Any) -> None:
        """Update one variable and its moments."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
