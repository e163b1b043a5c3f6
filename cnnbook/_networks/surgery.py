"""Whole filters taken out of a model: which channels go together, and layers without them."""

import math

import keras
import numpy as np
from keras import layers, tree

from cnnbook._networks import kinds
from cnnbook._networks.graph import Graph, made_from, tensors_of

__all__ = ["Surgery", "zero_count"]

FIXED = 0  # the channel that stands for all channels that must stay

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D)
VALUE_BY_VALUE = (  # and whatever else leaves every channel by itself, in its place
    *(layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Activation, layers.Identity),
    *(layers.MaxPooling2D, layers.AveragePooling2D),
    *(layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D),
    *(layers.UpSampling2D, layers.ZeroPadding2D, layers.Cropping2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout),
    layers.ActivityRegularization,
)
MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum)
MERGES += (layers.Minimum,)
MERGE_OPERATIONS = ("Add", "Subtract", "Multiply", "Maximum", "Minimum")  # x + y, ops.add, ...
OPERATIONS = ("ReLU", "Relu", "Relu6", "LeakyRelu", "Elu", "Gelu", "Silu", "Tanh", "Sigmoid")
OPERATIONS += ("HardSigmoid", "HardSilu")


def zero_count(share, size):
    """The largest integer of at most share * size, errors of rounding aside; one is left."""
    return max(min(math.floor(round(share * size, 6)), size - 1), 0)


class Surgery:
    """Follows every channel of a model from the filter that makes it to the layers that read it.

    A tensor has an array of channel numbers along its last axis. Channels that must stay or go
    together are tied: those that are added to each other, and those of a layer that is called
    twice. Channels that are tied to an input or an output of the model stay.
    """

    def __init__(self, model, what):
        self.what, self.graph = what, Graph(model, what)
        self.parents = [FIXED]
        self.channels = {}  # id(tensor): channel numbers
        self.reads, self.makes = {}, {}  # id(layer): channel numbers, of its inputs and filters
        self.filters = {}  # id(layer): L1 norms of the filters
        for tensor in tensors_of(self.graph.inputs):
            self._mark(tensor, self._fixed(tensor))
        for node in self.graph.nodes:
            self._follow(node)
        for tensor in tensors_of(self.graph.outputs):
            self._tie(self.channels[id(tensor)], FIXED)
        if not self.makes:
            raise ValueError(f"{what} needs a model with a Conv2D, {model.name!r} has none.")

    # Channels that are tied have one root.

    def _root(self, channel):
        while self.parents[channel] != channel:
            self.parents[channel] = self.parents[self.parents[channel]]
            channel = self.parents[channel]
        return channel

    def _tie(self, first, second):
        for a, b in np.broadcast(first, second):
            a, b = sorted((self._root(int(a)), self._root(int(b))))
            self.parents[b] = a  # the smaller number, so that FIXED stays a root

    def _new(self, count):
        numbers = np.arange(len(self.parents), len(self.parents) + count)
        self.parents += numbers.tolist()
        return numbers

    def _fixed(self, tensor):
        return np.full(tensor.shape[-1] or 0 if tensor.shape else 0, FIXED)

    def _is_fixed(self, channels):
        return all(self._root(int(c)) == FIXED for c in channels)

    def _mark(self, tensor, channels):
        self.channels[id(tensor)] = channels

    # What a layer does to the channels

    def _refuse(self, node, why=""):
        raise ValueError(
            f"{self.what} cannot carry the loss of filters through the layer {node.name!r} of "
            f"type {type(node.layer).__name__}{why}."
        )

    def _follow(self, node):
        inputs = [self.channels[id(t)] for t in tensors_of((node.args, node.kwargs))]
        outputs = tensors_of(node.outputs)
        if getattr(node.layer, "weights", None) and inputs:
            first = self.reads.setdefault(id(node.layer), inputs[0])
            if first is not inputs[0]:
                self._tie(first, inputs[0])
        makes_its_own = type(node.layer) in (*CONVOLUTIONS, layers.Dense)
        if not makes_its_own and all(map(self._is_fixed, inputs)):
            for tensor in outputs:
                self._mark(tensor, self._fixed(tensor))
            return
        if getattr(node.layer, "data_format", None) == "channels_first":
            self._refuse(node, " with data_format='channels_first': the channels must come last")
        channels = self._channels_after(node, inputs, outputs[0])
        if node.activation not in kinds.ACTIVATIONS:  # it may mix channels, as softmax does
            self._tie(channels, FIXED)
        self._mark(outputs[0], channels)

    def _channels_after(self, node, inputs, output):
        layer, kind = node.layer, type(node.layer)
        is_operation = not isinstance(layer, layers.Layer)
        if kind in CONVOLUTIONS:
            return self._filters_of(node)
        if kind is layers.Dense:
            return self._fixed(output)
        if kind is layers.DepthwiseConv2D:
            return np.repeat(inputs[0], layer.depth_multiplier)
        if kind is layers.BatchNormalization and self._is_last(layer.axis, output):
            return inputs[0]
        if kind in VALUE_BY_VALUE or (is_operation and node.kind in OPERATIONS):
            return inputs[0]
        if kind in MERGES or (is_operation and self._merges(node)):
            return self._merged(inputs)
        if kind is layers.Concatenate:
            if self._is_last(layer.axis, output):
                return np.concatenate(inputs)
            return self._merged(inputs)
        if kind in (layers.Flatten, layers.Reshape) and output.shape[-1] is not None:
            count = len(inputs[0])
            if kind is layers.Flatten or len(output.shape) == 2:
                return np.tile(inputs[0], output.shape[-1] // count)
            if output.shape[-1] == count:
                return inputs[0]
        return self._refuse(node)

    def _filters_of(self, node):
        layer = node.layer
        if getattr(layer, "groups", 1) != 1:
            self._refuse(node, f" with groups={layer.groups}")
        if id(layer) not in self.makes:
            kernel = node.weights.get("pointwise_kernel", node.weights.get("kernel"))
            self.makes[id(layer)] = self._new(kernel.shape[-1])
            self.filters[id(layer)] = np.sum(np.abs(kernel.astype("float64")), axis=(0, 1, 2))
        return self.makes[id(layer)]

    def _merged(self, inputs):
        longest = max(inputs, key=len)
        for channels in inputs:
            is_spread = len(channels) != len(longest)  # one channel that meets all others
            self._tie(channels, FIXED if is_spread else longest)
            if is_spread:
                self._tie(longest, FIXED)
        return longest

    @staticmethod
    def _merges(node):
        given = tree.flatten((node.args, node.kwargs))
        has_arrays = any(np.ndim(a) for a in given if not isinstance(a, keras.KerasTensor))
        return node.kind in MERGE_OPERATIONS and not has_arrays

    @staticmethod
    def _is_last(axis, tensor):
        return axis in (-1, len(tensor.shape) - 1)

    # Which go, and the model without them

    def drop(self, fraction):
        """The roots of the channels that go: in each set of filters that go together, the share
        with the smallest norms, summed over the layers; of equal norms the first."""
        norms, owners = {}, {}
        for owner, channels in self.makes.items():
            for channel, norm in zip(channels, self.filters[owner], strict=True):
                root = self._root(int(channel))
                if root != FIXED:
                    norms[root] = norms.get(root, 0.0) + norm
                    owners.setdefault(root, set()).add(owner)
        groups = {}
        for root, names in owners.items():
            groups.setdefault(frozenset(names), []).append(root)
        if not groups:
            raise ValueError(
                f"{self.what} finds no filters that may go in {self.graph.name!r}: all are tied "
                "to its inputs or outputs."
            )
        dropped = set()
        for roots in groups.values():
            dropped |= set(sorted(roots, key=norms.get)[: zero_count(fraction, len(roots))])
        return dropped

    def without(self, dropped):
        """A new model without these channels."""
        smaller = {}

        def kept(channels):
            return np.array([self._root(int(c)) not in dropped for c in channels], bool)

        def call(node, *args, **kwargs):
            if not isinstance(node.layer, layers.Layer):
                return node.layer(*args, **kwargs)
            layer, weights = smaller.get(id(node.layer)), None
            if layer is None:
                layer, weights = self._smaller(node, kept)
                smaller[id(node.layer)] = layer
            outputs = layer(*args, **kwargs)
            if weights:
                layer.set_weights(weights)
            return outputs

        return self.graph.rebuild(call)

    def _smaller(self, node, kept):
        """(a new layer, its weights)."""
        layer, weights = node.layer, node.weights
        config = layer.get_config()
        change = {
            layers.Conv2D: self._smaller_convolution,
            layers.SeparableConv2D: self._smaller_convolution,
            layers.DepthwiseConv2D: self._smaller_depthwise,
            layers.Dense: self._smaller_dense,
            layers.BatchNormalization: self._smaller_norm,
            layers.Reshape: self._smaller_shape,
        }.get(type(layer))
        if change is not None:
            weights |= change(node, config, kept)
        names = [v.name for v in layer.weights]  # inside a layer of layers one name stands twice
        values = [weights[n] for n in names] if len(names) == len(weights) else layer.get_weights()
        return made_from(layer, config), values

    # Each changes the configuration and returns the weights that change.

    def _smaller_convolution(self, node, config, kept):
        layer, weights = node.layer, node.weights
        reads, makes = kept(self.reads[id(layer)]), kept(self.makes[id(layer)])
        config["filters"] = int(makes.sum())
        changed = {"bias": weights["bias"][makes]} if "bias" in weights else {}
        if "kernel" in weights:
            return changed | {"kernel": weights["kernel"][:, :, reads][..., makes]}
        inner = np.repeat(reads, layer.depth_multiplier)
        return changed | {
            "depthwise_kernel": weights["depthwise_kernel"][:, :, reads],
            "pointwise_kernel": weights["pointwise_kernel"][:, :, inner][..., makes],
        }

    def _smaller_depthwise(self, node, config, kept):
        reads, weights = kept(self.reads[id(node.layer)]), node.weights
        outer = np.repeat(reads, node.layer.depth_multiplier)
        changed = {"bias": weights["bias"][outer]} if "bias" in weights else {}
        return changed | {"kernel": weights["kernel"][:, :, reads]}

    def _smaller_dense(self, node, config, kept):
        return {"kernel": node.weights["kernel"][kept(self.reads[id(node.layer)])]}

    def _smaller_norm(self, node, config, kept):
        reads = kept(self.reads[id(node.layer)])
        return {} if reads.all() else {n: w[reads] for n, w in node.weights.items()}

    def _smaller_shape(self, node, config, kept):
        (source,), (output,) = node.reads, tensors_of(node.outputs)
        channels = kept(self.channels[id(source)])
        if not channels.all():
            count = int(channels.sum()) * (output.shape[-1] // len(channels))
            config["target_shape"] = (*config["target_shape"][:-1], count)
        return {}
