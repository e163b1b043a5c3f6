"""What several test modules need."""

import keras
import numpy as np
from hypothesis import HealthCheck, settings
from keras import ops

drawn = settings(
    deadline=None,
    derandomize=True,
    max_examples=10 if keras.backend.backend() == "jax" else 25,  # JAX compiles every new shape
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""Settings for tests over drawn arguments: the same draws on every run."""


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def precise_dtype():
    """float64 where Keras computes in it, which is on TensorFlow only."""
    return "float64" if keras.backend.backend() == "tensorflow" else "float32"


def vjp(function, arrays, output_gradient):
    """Autodiff's gradients of sum(function(*arrays) * output_gradient), as NumPy arrays."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        arrays = [tf.convert_to_tensor(a) for a in arrays]
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            y = function(*arrays)
        gradients = tape.gradient(y, arrays, output_gradients=tf.cast(output_gradient, y.dtype))
    elif backend == "jax":
        import jax

        y, pullback = jax.vjp(function, *(ops.convert_to_tensor(a) for a in arrays))
        gradients = pullback(ops.cast(output_gradient, y.dtype))
    else:
        import torch

        arrays = [torch.tensor(np.asarray(a), requires_grad=True) for a in arrays]
        y = function(*arrays)
        gradients = torch.autograd.grad(y, arrays, torch.tensor(output_gradient, dtype=y.dtype))
    return [to_numpy(g) for g in gradients]


def compiled(function):
    """The function compiled as the backend compiles: tf.function, jax.jit or torch.compile."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function, backend="eager")


def damaged(content, count, seed=0):
    """So many copies of a file's bytes: cut off, with flipped bits, with a piece overwritten."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        copy = bytearray(content)
        if i % 3 == 0:
            copy = copy[: rng.integers(len(content))]
        elif i % 3 == 1:
            for place in rng.integers(len(content), size=1 + i % 5):
                copy[place] ^= 1 << rng.integers(8)
        else:
            start = rng.integers(len(content))
            copy[start : start + 16] = rng.bytes(len(copy[start : start + 16]))
        yield bytes(copy)
