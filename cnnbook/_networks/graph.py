"""Functional and Sequential models as graphs that can be read and built anew."""

from collections import Counter

import keras
from keras import tree

from cnnbook._networks import kinds

__all__ = ["Graph", "Node", "made_from", "require_graph", "tensors_of", "unique_name"]


def tensors_of(structure):
    return [t for t in tree.flatten(structure) if isinstance(t, keras.KerasTensor)]


class Node:
    """One call of a layer: the layer, a copy of the model's own, and the tensors around it."""

    def __init__(self, layer, args, kwargs, outputs):
        self.layer, self.outputs = layer, outputs
        self.args, self.kwargs = args, kwargs
        self.sources, self.targets = [], []  # nodes; None stands for an input of the model
        self.is_output = False

    @property
    def name(self):
        return self.layer.name

    @property
    def kind(self):
        return kinds.kind_of(self.layer)

    @property
    def activation(self):
        return kinds.activation_of(self.layer)

    @property
    def reads(self):
        return tensors_of((self.args, self.kwargs))

    @property
    def weights(self):
        return {w.name: keras.ops.convert_to_numpy(w) for w in self.layer.weights}


class Graph:
    """A copy of a model as a list of nodes, in the order of computation; the model stays as it is.

    Nested models are opened: their layers stand in the list as if they were the model's own. The
    layers are copies with the same configurations, weights and names; of two layers with one name
    those in nested models get the names of these models in front. A layer that is called twice has
    two nodes with one copy.

    Args:
        model: A Functional or Sequential model with weights.
        what: The function that needs it, for the errors.

    Raises:
        ValueError: If the model is of another kind or not built.
    """

    def __init__(self, model, what):
        require_graph(model, what)
        _require_own_call(model, what)
        self.name, self.nodes = model.name, []
        self._copies = {}  # id(layer of the model): its copy
        self._made_by = {}  # id(tensor): the node that made it
        self._names = _names_of(model)
        self.inputs = tree.map_structure(_new_input, _ends(model)[0])
        self.outputs = self._trace(model, self.inputs)
        for tensor in tensors_of(self.outputs):
            if id(tensor) in self._made_by:
                self._made_by[id(tensor)].is_output = True

    def _trace(self, model, inputs):
        def call(layer, *args, **kwargs):
            if isinstance(layer, keras.Model):
                require_graph(layer, f"the nested model {layer.name!r}")
                _require_own_call(layer, f"the nested model {layer.name!r}")
                return self._trace(layer, args[0])
            return self._node(layer, args, kwargs)

        # As keras.models.clone_model goes; but its model of tensors inside another is cut off.
        plain = keras.Model(*_ends(model))
        return plain._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)

    def _node(self, layer, args, kwargs):
        copy = self._copies.get(id(layer))
        if copy is None:
            config = layer.get_config()
            if id(layer) in self._names:
                config["name"] = self._names[id(layer)]
            copy = self._copies[id(layer)] = made_from(layer, config)
        outputs = copy(*args, **kwargs)
        if isinstance(layer, keras.layers.Layer) and not any(n.layer is copy for n in self.nodes):
            copy.set_weights(layer.get_weights())
        node = Node(copy, args, kwargs, outputs)
        for tensor in node.reads:
            source = self._made_by.get(id(tensor))
            node.sources.append(source)
            if source is not None:
                source.targets.append(node)
        for tensor in tensors_of(outputs):
            self._made_by[id(tensor)] = node
        self.nodes.append(node)
        return outputs

    def rebuild(self, call, enter=lambda tensor, nodes: tensor):
        """A new model: ``call(node, *args, **kwargs)`` returns what takes the place of a node.

        The arguments are those of the node, of the new model's tensors. ``enter(tensor, nodes)``
        returns what the nodes that read an input get of it.
        """
        inputs, new = tree.map_structure(_new_input, self.inputs), {}
        for old, tensor in zip(tensors_of(self.inputs), tensors_of(inputs), strict=True):
            readers = [n for n in self.nodes if any(t is old for t in n.reads)]
            new[id(old)] = enter(tensor, readers)

        def fill(structure):
            return tree.map_structure(
                lambda t: new[id(t)] if isinstance(t, keras.KerasTensor) else t, structure
            )

        for node in self.nodes:
            outputs = call(node, *fill(node.args), **fill(node.kwargs))
            new |= zip(map(id, tensors_of(node.outputs)), tensors_of(outputs), strict=True)
        return keras.Model(inputs, fill(self.outputs), name=self.name)


def made_from(layer, config):
    """A layer of this class and configuration, with the very function that the first applies.

    A configuration holds the name of a function, by which Keras would find its own.
    """
    made = type(layer).from_config(config)
    if callable(getattr(layer, "activation", None)):
        made.activation = layer.activation
    return made


def _layers_of(model, path=()):
    """(layer, names of the nested models in which it stands) of all but models and inputs."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer, (*path, layer.name))
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer, path


def _names_of(model):
    """{id of a layer: a new name} for the layers in nested models whose name stands elsewhere."""
    found = {id(layer): (layer, path) for layer, path in _layers_of(model)}
    inputs = [tensor.name for tensor in tensors_of(_ends(model)[0])]
    counts = Counter([layer.name for layer, _ in found.values()] + inputs)
    taken, new = set(counts), {}
    for layer, path in found.values():
        if counts[layer.name] > 1 and path:
            new[id(layer)] = unique_name("_".join((*path, layer.name)), taken)
    return new


def unique_name(wanted, taken):
    """The name, with a number behind it where it is taken; it is taken from now on."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name


def _ends(model):
    """(inputs, outputs); a Sequential that was never called has no `input` yet."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def _require_own_call(model, what):
    """A subclass may do something else in `call` than its graph of layers says."""
    if not type(model).call.__module__.startswith("keras."):
        raise ValueError(
            f"{what} needs a model that its layers describe; {model.name!r} is of class "
            f"{type(model).__name__}, which has a call() of its own."
        )


def _new_input(tensor):
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def require_graph(model, what):
    if not isinstance(model, keras.Model):
        raise ValueError(f"{what} needs a Keras model, got {type(model).__name__}.")
    try:
        _ends(model)
    except (AttributeError, ValueError):
        raise ValueError(
            f"{what} needs a built Functional or Sequential model, whose layers can be listed; "
            f"{model.name!r} is of class {type(model).__name__} and has no graph."
        ) from None
