"""A network as industry writes it, and its weights carried over from PyTorch.

Chapter: ``notebooks/13_industrial_cnn.ipynb``.
"""

from collections.abc import Mapping
from numbers import Real

import keras
import numpy as np

from cnnbook._shared import arguments

__all__ = ["industrial_cnn", "load_torch_weights"]


def _image_shape(shape):
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {shape!r}.")
    shape = tuple(arguments.positive_int("input_shape", size) for size in shape)
    if min(shape[:2]) < 4:
        raise ValueError(
            f"input_shape must have at least 4x4 pixels to be halved twice, got {shape}."
        )
    return shape


def industrial_cnn(num_classes, *, input_shape=(32, 32, 3), width=64, dropout=0.5):
    r"""Two convolution blocks and two dense layers, :eq:`eq-industrial-cnn`.

    .. math::

        A_1 &= \text{pool}\bigl(\text{relu}(\text{BN}_1(W_1 * X + b_1))\bigr) \\
        A_2 &= \text{pool}\bigl(\text{relu}(\text{BN}_2(W_2 * A_1 + b_2))\bigr) \\
        z &= W_4\,\text{relu}\bigl(W_3\,\text{dropout}(\text{vec}\,A_2) + b_3\bigr) + b_4

    :math:`*` is a 3x3 convolution with padding 1, :math:`\text{BN}` batch
    normalization with :math:`\epsilon = 10^{-5}` and a momentum of 0.9 as Keras
    counts it (0.1 in PyTorch), :math:`\text{pool}` a 2x2 max pooling, and
    :math:`\text{vec}` flattens row by row, the channels of a pixel together.
    With the defaults and ten classes it has 2,176,394 parameters, 384 of
    them moving statistics that are not trained.

    Args:
        num_classes: How many scores :math:`z` an image gets, at least 1.
        input_shape: ``(height, width, channels)`` of an image :math:`X`, at
            least 4x4 pixels. The model is channels-last, whatever Keras's
            configuration says.
        width: Filters of the first convolution; the second has twice as many,
            the dense layer in between four times.
        dropout: The probability to drop a feature in training, in [0, 1).

    Returns:
        A built ``keras.Sequential`` that maps images ``(N, H, W, C)`` to
        logits ``(N, num_classes)``.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Ioffe and Szegedy, Batch Normalization, 2015, https://arxiv.org/abs/1502.03167

    Example:
        >>> industrial_cnn(10).count_params()
        2176394
    """
    classes = arguments.positive_int("num_classes", num_classes)
    width = arguments.positive_int("width", width)
    if not isinstance(dropout, Real) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a number in [0, 1), got {dropout!r}.")
    layers = [keras.Input(_image_shape(input_shape), name="images")]
    for block, filters in ((1, width), (2, 2 * width)):
        layers += [
            keras.layers.Conv2D(
                filters, 3, padding="same", data_format="channels_last", name=f"convolution_{block}"
            ),
            keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"batch_norm_{block}"),
            keras.layers.ReLU(name=f"relu_{block}"),
            keras.layers.MaxPooling2D(2, data_format="channels_last", name=f"pool_{block}"),
        ]
    layers += [
        keras.layers.Flatten(data_format="channels_last", name="flatten"),
        keras.layers.Dropout(dropout, name="dropout"),
        keras.layers.Dense(4 * width, name="dense_1"),
        keras.layers.ReLU(name="relu_3"),
        keras.layers.Dense(classes, name="dense_2"),
    ]
    return keras.Sequential(layers, name="industrial_cnn")


# Carrying weights over: what PyTorch calls an array, and how Keras wants it to lie.


def _convolution(array):
    return array.transpose(2, 3, 1, 0)


def _counterparts(layer, order):
    """{name in PyTorch: (variable, how to rearrange the array)} of one layer."""

    def features(array):
        return array if order is None else array[order]

    if isinstance(layer, keras.layers.BatchNormalization):
        names = {
            "weight": layer.gamma if layer.scale else None,
            "bias": layer.beta if layer.center else None,
            "running_mean": layer.moving_mean,
            "running_var": layer.moving_variance,
        }
        return {n: (v, features) for n, v in names.items() if v is not None}
    if isinstance(layer, keras.layers.Conv2D):
        names = {"weight": (layer.kernel, _convolution)}
    elif isinstance(layer, keras.layers.Dense):
        names = {"weight": (layer.kernel, lambda array: features(array.T))}
    else:
        raise ValueError(
            f"model has the layer {layer.name!r} of type {type(layer).__name__}: only Conv2D, "
            "BatchNormalization and Dense can be carried over."
        )
    return names | ({"bias": (layer.bias, np.asarray)} if layer.use_bias else {})


def _channels_last_order(layer):
    """order[k]: where PyTorch's flattening puts the feature that Keras's puts at k."""
    shape = layer.input.shape[1:]
    if layer.data_format == "channels_last":
        shape = (shape[-1], *shape[:-1])
    return np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()


def _as_array(name, value):
    value = value.detach().cpu() if hasattr(value, "detach") else value
    try:
        array = np.asarray(value)
    except TypeError as error:
        raise ValueError(f"state_dict[{name!r}] is not an array for NumPy: {error}") from None
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"state_dict[{name!r}] must hold floats, got {array.dtype}.")
    return array


def _by_module(state_dict):
    """[(prefix, {parameter: array})] in the order of the state_dict."""
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            "state_dict must map names to arrays, as module.state_dict() does, "
            f"got {type(state_dict).__name__}."
        )
    modules = {}
    for name, value in state_dict.items():
        prefix, _, parameter = name.rpartition(".")
        if parameter != "num_batches_tracked":
            modules.setdefault(prefix, {})[parameter] = _as_array(name, value)
    return list(modules.items())


def _assignments(model, modules):
    """[(variable, array)] for the whole model; raises before anything is assigned."""
    order, pairs, modules = None, [], iter(modules)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten) and len(layer.input.shape) == 4:
            order = _channels_last_order(layer)
        elif isinstance(layer, (keras.layers.Reshape, keras.layers.Permute)):
            raise ValueError(
                f"model has the layer {layer.name!r} of type {type(layer).__name__}, "
                "behind which the order of the features is not known; use Flatten."
            )
        if not layer.weights:
            continue
        prefix, arrays = next(modules)
        counterparts = _counterparts(layer, order)
        if isinstance(layer, keras.layers.Dense):
            order = None
        if arrays.keys() != counterparts.keys():
            raise ValueError(
                f"layer {layer.name!r} needs {', '.join(counterparts)}, "
                f"but state_dict has {', '.join(arrays)} under {prefix!r}."
            )
        for name, (variable, rearrange) in counterparts.items():
            pairs.append((variable, _fitted(f"{prefix}.{name}", arrays[name], variable, rearrange)))
    return pairs


def _fitted(name, array, variable, rearrange):
    try:
        rearranged = rearrange(array)
    except (IndexError, ValueError):  # another number of axes, or too few features
        rearranged = array
    if rearranged.shape != tuple(variable.shape) or rearranged.size != array.size:
        raise ValueError(
            f"state_dict[{name!r}] has shape {array.shape}, which does not become "
            f"the shape {tuple(variable.shape)} of {variable.path!r}."
        )
    return rearranged


def load_torch_weights(model, state_dict):
    r"""Carries the weights of a PyTorch network over, :eq:`eq-flatten-order`.

    .. math::

        K_{(i w + j) C + c,\, o} = W_{o,\, (c h + i) w + j}

    A feature has row :math:`i`, column :math:`j` and channel :math:`c` of
    ``h`` rows, ``w`` columns and ``C`` channels, all counted from 0, and
    :math:`o` is an output of the first dense layer behind the flattening.
    PyTorch's weights :math:`W` count channel by channel, Keras's kernel
    :math:`K` pixel by pixel. Batch normalization between the two gets its
    features in the new order, too. All other arrays are transposed only:
    kernels of convolutions from ``(C_out, C_in, kh, kw)`` to ``(kh, kw, C_in,
    C_out)``, those of dense layers from ``(C_out, C_in)`` to ``(C_in, C_out)``.

    Layers with weights are matched in order, so the model must be a chain of
    layers in the order of the PyTorch modules. What a ``state_dict`` does not
    hold must be equal already: strides, padding, activations, and the epsilon
    of batch normalization (1e-5 in PyTorch, 1e-3 in Keras unless said
    otherwise).

    Args:
        model: A built Keras model, a chain of Conv2D, BatchNormalization and
            Dense layers, Flatten, and layers without weights; changed in
            place, or not at all where an error is raised.
        state_dict: ``module.state_dict()``, a mapping from names to floating
            point tensors or NumPy arrays. ``num_batches_tracked`` has no
            counterpart in Keras and is passed over.

    Returns:
        The model, with weights in its variables' dtype.

    Raises:
        ValueError: If the layers do not match one to one, an array is missing,
            left over, of another shape or not of floats, or the model has a
            layer that cannot be carried over.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> state_dict = {"0.weight": np.array([[2.0, 3.0]]), "0.bias": np.array([1.0])}
        >>> load_torch_weights(model, state_dict).predict(np.array([[10.0, 1.0]]), verbose=0).item()
        24.0
    """
    modules = _by_module(state_dict)
    weighted = [layer.name for layer in model.layers if layer.weights]
    if len(weighted) != len(modules):
        raise ValueError(
            f"model has {len(weighted)} layers with weights ({', '.join(weighted)}), but "
            f"state_dict has {len(modules)} ({', '.join(prefix for prefix, _ in modules)})."
        )
    for variable, array in _assignments(model, modules):
        variable.assign(array)
    return model
