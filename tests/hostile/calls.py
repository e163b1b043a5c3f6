"""One valid call of every public function, and of what kind each of its arguments is."""

import functools
import importlib
import inspect
import tempfile
from pathlib import Path

import keras
import numpy as np

PACKAGE = Path(__file__).parents[2] / "cnnbook"
FOLDER = Path(tempfile.gettempdir()) / "cnnbook-hostile"

KINDS = {
    "array": """x output_gradient kernel bias mean variance gamma beta moving value images labels
        masks boxes y_true y_pred logits probabilities student_logits teacher_logits std weights q
        scale minimum maximum maps image angles output_scale input_scale kernel_scale factor
        calibration_images reference candidate step""",
    "arrays": "parameters gradients velocity state data history x_train y_train x_test y_test",
    "integer": """groups padding_pixels size kernel_size stride dilation total_steps warmup_steps
        n m begin end frequency bits epochs batch_size save_every patience repeats warm_up threads
        num_classes width count columns input_zero_point output_zero_point zero_point""",
    "integers": "strides pool_size dilation_rate position shape input_shape output_range n_m",
    "number": """negative_slope alpha brightness contrast saturation hue fill degrees probability
        rate keep_probability dropout label_smoothing epsilon momentum learning_rate beta_1 beta_2
        weight_decay base sparsity fraction threshold power final initial temperature difficulty
        rotation vmin vmax""",
    "range": "area ratio",
    "flag": """approximate horizontal vertical training from_logits nesterov count_include_pad
        symmetric per_layer colorbar""",
    "choice": "data_format reduction normalize quantizer name",
    "padding": "padding",
    "axis": "axis",
    "seed": "seed",
    "text": "title cmap source licence",
    "other": """callbacks names model student teacher loss optimizer preprocess augment
        validation_data
        checkpoint verbose loss_fn path runs skip titles class_names numbers axes ax transforms
        state_dict options masks_train masks_test boxes_train boxes_test""",
}
EXCEPTIONS = {  # where a name means another thing than elsewhere
    ("random_crop", "padding"): "integer",
    ("focal_loss", "gamma"): "number",
    ("conv_output_size", "dilation_rate"): "integer",
    ("convolution_window", "kernel_size"): "integers",
    ("layer_norm", "axis"): "integers",
    ("show_images", "size"): "number",
    ("make_shapes", "difficulty"): "number",
    ("polynomial_sparsity", "step"): "array",
    ("value_and_gradients", "y"): "array",
    ("parity", "reference"): "other",
    ("parity", "candidate"): "other",
    ("load", "name"): "choice",
}

NONE_TOO = {  # what has no default of None, and takes it all the same
    ("focal_loss", "alpha"),
    ("batch_norm_gradients", "gamma"),
    *(("fold_batch_norm", parameter) for parameter in ("bias", "gamma", "beta")),
}


def kind_of(name, parameter):
    if name == "Dataset":  # a record, which holds whatever it is given
        return "other"
    if (name, parameter) in EXCEPTIONS:
        return EXCEPTIONS[name, parameter]
    return next((kind for kind, names in KINDS.items() if parameter in names.split()), None)


def can_be_none(name, parameter, function):
    return (name, parameter) in NONE_TOO or parameters_of(function)[parameter] is None


def public():
    """{name: function} of every public name of the package that can be called."""
    found = {}
    for path in sorted(PACKAGE.glob("[!_]*.py")):
        module = importlib.import_module(f"cnnbook.{path.stem}")
        found |= {f"{path.stem}.{name}": getattr(module, name) for name in module.__all__}
    composed = found["augmentation.Augmentation"]
    transform = found["augmentation.random_flip"]
    return found | {"augmentation.Augmentation": functools.partial(composed, transform)}


def draw(*shape, seed=0, low=0.1, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def rows(n, classes, seed=0):
    x = draw(n, classes, seed=seed)
    return x / x.sum(axis=-1, keepdims=True)


def model(outputs=3):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(outputs),
        ]
    )


@functools.cache
def written(suffix):
    """A file that the package wrote from the model, once."""
    from cnnbook import deployment

    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"model{suffix}"
    if suffix == ".tflite":
        deployment.to_litert(model(), path)
    else:
        deployment.to_onnx(model(), path)
    return path


def image_options(**options):
    return dict(images=draw(2, 5, 6, 3), data_format="channels_last", **options)


def moving(**options):
    boxes = np.array([[0, 1, 3, 4], [1, 0, 5, 5]], "float32")
    masks = np.ones((2, 5, 6), "int32")
    return image_options(masks=masks, boxes=boxes, fill=0.0, **options)


def windows(**options):
    return dict(strides=1, padding="valid", data_format="channels_last", **options)


def convolution(**options):
    kernel = draw(3, 3, 2, 4, seed=1)
    return windows(x=draw(2, 6, 6, 2), kernel=kernel, dilation_rate=1, groups=1, **options)


def pooling(**options):
    return windows(x=draw(2, 6, 6, 2), pool_size=2, **options) | {"strides": 2}


def averages():
    m, v = draw(3, seed=1), draw(3, seed=2)
    return dict(mean=m, variance=v, gamma=draw(3, seed=3), beta=draw(3, seed=4), epsilon=1e-3)


def scaled(names):
    every = averages() | {"x": draw(4, 3), "axis": -1, "groups": 1}
    return {name: every[name] for name in names.split()}


def losses(**options):
    return dict(y_true=np.array([0, 2]), reduction="mean", **options)


def binary(**options):
    y = np.array([0.0, 1.0, 1.0], "float32")
    return dict(y_true=y, y_pred=draw(3), from_logits=False, reduction="mean", **options)


def adam(**options):
    from cnnbook.optimizers import adam_state

    parameters = [draw(3), draw(2, 2)]
    state = adam_state(parameters)
    numbers = dict(learning_rate=0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
    return dict(parameters=parameters, gradients=parameters, state=state, **numbers, **options)


def integer_convolution():
    rng = np.random.default_rng(0)
    x = rng.integers(-100, 100, (1, 5, 5, 2)).astype("int8")
    kernel = rng.integers(-100, 100, (3, 3, 2, 3)).astype("int8")
    scales = dict(input_scale=0.1, kernel_scale=draw(3), output_scale=0.5)
    points = dict(input_zero_point=3, output_zero_point=-2, output_range=(-128, 127))
    bias = np.array([1, 2, 3], "int32")
    return windows(x=x, kernel=kernel, bias=bias, dilation_rate=1, groups=1, **scales, **points)


def training_call():
    data = (draw(4, 6, 6, 2), np.array([0, 1, 2, 0]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dict(model=model(), data=data, loss=loss, optimizer="sgd", epochs=1, batch_size=2,
                preprocess=None, augment=None, validation_data=None, checkpoint=None,
                save_every=None, patience=None, callbacks=(), seed=0, verbose=0)  # fmt: skip


def distillation_call():
    data = (draw(4, 6, 6, 2), np.array([0, 1, 2, 0]))
    return dict(student=model(), teacher=model(), data=data, epochs=1, optimizer="sgd", alpha=0.5,
                temperature=2.0, batch_size=2, validation_data=None, seed=0, verbose=0)  # fmt: skip


def gradients_call():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dict(model=model(), loss_fn=loss, x=draw(2, 6, 6, 2), y=np.array([0, 1]))


def dataset_call():
    x, y = draw(4, 2, 2, 1), np.array([0, 1, 0, 1])
    return dict(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])


CALLS = {
    "activations.gelu": lambda: dict(x=draw(2, 3), approximate=False),
    "activations.hard_silu": lambda: dict(x=draw(2, 3)),
    "activations.leaky_relu": lambda: dict(x=draw(2, 3), negative_slope=0.1),
    "activations.relu": lambda: dict(x=draw(2, 3)),
    "activations.relu_gradient": lambda: dict(x=draw(2, 3), output_gradient=draw(2, 3)),
    "activations.silu": lambda: dict(x=draw(2, 3)),
    "augmentation.Augmentation": lambda: dict(seed=0),
    "augmentation.adjust_colors": lambda: image_options(
        brightness=0.9, contrast=1.1, saturation=0.5, hue=0.1
    ),
    "augmentation.color_jitter": lambda: image_options(
        brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, seed=0
    ),
    "augmentation.cutmix": lambda: image_options(labels=rows(2, 3), alpha=1.0, seed=0),
    "augmentation.mixup": lambda: dict(
        images=draw(2, 5, 6, 3), labels=rows(2, 3), alpha=1.0, seed=0
    ),
    "augmentation.random_crop": lambda: moving(padding=2, seed=0),
    "augmentation.random_erasing": lambda: image_options(
        probability=0.5, area=(0.1, 0.3), ratio=(0.5, 2.0), fill=0.0, seed=0
    ),
    "augmentation.random_flip": lambda: {
        k: v for k, v in moving(horizontal=True, vertical=False, seed=0).items() if k != "fill"
    },
    "augmentation.random_rotation": lambda: moving(degrees=20.0, seed=0),
    "augmentation.rotate": lambda: moving(angles=draw(2, high=90)),
    "convolution.conv2d": lambda: convolution(bias=draw(4)),
    "convolution.conv2d_gradients": lambda: convolution(output_gradient=draw(2, 4, 4, 4)),
    "convolution.conv2d_transpose": lambda: windows(
        x=draw(2, 4, 4, 2), kernel=draw(3, 3, 4, 2), bias=draw(4)
    ),
    "convolution.conv_output_size": lambda: dict(
        size=9, kernel_size=3, stride=2, padding="same", dilation_rate=1
    ),
    "datasets.Dataset": dataset_call,
    "datasets.load": lambda: dict(name="digits"),
    "datasets.make_shapes": lambda: dict(count=8, seed=0, difficulty=0.5, rotation=10.0),
    "dense.dense": lambda: dict(x=draw(2, 3), kernel=draw(3, 4), bias=draw(4)),
    "dense.dense_gradients": lambda: dict(
        x=draw(2, 3), kernel=draw(3, 4), output_gradient=draw(2, 4)
    ),
    "dense.flatten": lambda: dict(x=draw(2, 3, 4)),
    "deployment.latency": lambda: dict(runs={"a": lambda: None}, repeats=2, warm_up=1, threads=1),
    "deployment.parity": lambda: dict(
        reference=model(), candidate=model(), images=draw(3, 6, 6, 2), threshold=0.5
    ),
    "deployment.peak_memory": lambda: dict(path=written(".tflite"), threads=1),
    "deployment.run_litert": lambda: dict(
        path=written(".tflite"), images=draw(3, 6, 6, 2), threads=1
    ),
    "deployment.run_onnx": lambda: dict(path=written(".onnx"), images=draw(3, 6, 6, 2), threads=1),
    "deployment.to_litert": lambda: dict(
        model=model(),
        path=FOLDER / "other.tflite",
        calibration_images=None,
        batch_size=1,
        quantizer="tensorflow",
        skip=(),
    ),  # fmt: skip
    "deployment.to_onnx": lambda: dict(model=model(), path=FOLDER / "other.onnx", skip=()),
    "distillation.distill": distillation_call,
    "distillation.distillation_loss": lambda: losses(
        student_logits=draw(2, 3), teacher_logits=draw(2, 3, seed=1), alpha=0.5, temperature=2.0
    ),
    "distillation.distillation_loss_gradient": lambda: losses(
        student_logits=draw(2, 3), teacher_logits=draw(2, 3, seed=1), alpha=0.5, temperature=2.0
    ),
    "dropout.bernoulli_mask": lambda: dict(shape=(2, 3), keep_probability=0.5, seed=0),
    "dropout.dropout": lambda: dict(x=draw(2, 3), rate=0.5, seed=0, training=True),
    "dropout.spatial_dropout2d": lambda: dict(
        x=draw(2, 4, 4, 3), rate=0.5, seed=0, training=True, data_format="channels_last"
    ),
    "industrial_cnn.industrial_cnn": lambda: dict(
        num_classes=3, input_shape=(32, 32, 3), width=4, dropout=0.5
    ),
    "industrial_cnn.load_torch_weights": lambda: dict(
        model=keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
        state_dict={"0.weight": draw(2, 3), "0.bias": draw(2)},
        names=None,
    ),
    "losses.binary_cross_entropy": lambda: binary(label_smoothing=0.1),
    "losses.cross_entropy": lambda: losses(
        y_pred=rows(2, 3), from_logits=False, label_smoothing=0.1
    ),
    "losses.cross_entropy_gradient": lambda: losses(logits=draw(2, 3), label_smoothing=0.1),
    "losses.focal_loss": lambda: binary(gamma=2.0, alpha=0.25),
    "losses.mean_squared_error": lambda: dict(
        y_true=draw(3), y_pred=draw(3, seed=1), reduction="mean"
    ),
    "normalization.batch_moments": lambda: scaled("x axis"),
    "normalization.batch_norm": lambda: scaled("x mean variance gamma beta epsilon axis"),
    "normalization.batch_norm_gradients": lambda: (
        scaled("x gamma epsilon axis") | {"output_gradient": draw(4, 3)}
    ),
    "normalization.fold_batch_norm": lambda: (
        averages() | {"kernel": draw(3, 3, 2, 3), "bias": draw(3)}
    ),
    "normalization.group_norm": lambda: scaled("x gamma beta groups epsilon axis"),
    "normalization.layer_norm": lambda: scaled("x gamma beta epsilon axis"),
    "normalization.update_moving": lambda: dict(moving=draw(3), value=draw(3), momentum=0.9),
    "optimizers.adam_state": lambda: dict(parameters=[draw(3)]),
    "optimizers.adam_step": adam,
    "optimizers.adamw_step": lambda: adam(weight_decay=0.1),
    "optimizers.cosine_schedule": lambda: dict(step=2, total_steps=9, base=0.1, warmup_steps=3),
    "optimizers.momentum_step": lambda: dict(
        parameters=[draw(3)],
        gradients=[draw(3)],
        velocity=[draw(3)],
        learning_rate=0.1,
        momentum=0.9,
        nesterov=False,
    ),  # fmt: skip
    "optimizers.sgd_step": lambda: dict(
        parameters=[draw(3)], gradients=[draw(3)], learning_rate=0.1
    ),
    "plotting.confusion": lambda: dict(
        y_true=np.array([0, 1, 1]),
        y_pred=np.array([0, 1, 0]),
        class_names=["a", "b"],
        title="t",
        cmap="cividis",
        normalize=None,
        ax=None,
    ),  # fmt: skip
    "plotting.convolution_window": lambda: dict(
        image=draw(5, 5),
        position=(0, 0),
        kernel_size=3,
        strides=1,
        padding="valid",
        dilation_rate=1,
        numbers=None,
        title=None,
        cmap="gray",
        ax=None,
    ),  # fmt: skip
    "plotting.feature_maps": lambda: dict(
        maps=draw(4, 4, 2),
        titles=None,
        columns=2,
        title="t",
        cmap="viridis",
        colorbar=False,
        axes=None,
    ),  # fmt: skip
    "plotting.kernels": lambda: dict(
        kernel=draw(3, 3, 1, 2), title="t", cmap="RdBu_r", numbers=False, colorbar=False, axes=None
    ),
    "plotting.learning_curves": lambda: dict(
        history={"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}, title="t", axes=None
    ),
    "plotting.show_images": lambda: dict(
        images=draw(2, 4, 4),
        titles=["a", "b"],
        columns=2,
        title="t",
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        size=1.0,
        axes=None,
    ),  # fmt: skip
    "pooling.avg_pool2d": lambda: pooling(count_include_pad=False),
    "pooling.avg_pool2d_gradient": lambda: pooling(
        output_gradient=draw(2, 3, 3, 2), count_include_pad=False
    ),
    "pooling.global_avg_pool2d": lambda: dict(x=draw(2, 4, 4, 3), data_format="channels_last"),
    "pooling.global_max_pool2d": lambda: dict(x=draw(2, 4, 4, 3), data_format="channels_last"),
    "pooling.max_pool2d": pooling,
    "pooling.max_pool2d_gradient": lambda: pooling(output_gradient=draw(2, 3, 3, 2)),
    "preprocessing.channel_moments": image_options,
    "preprocessing.standardize": lambda: image_options(mean=draw(3), std=draw(3)),
    "preprocessing.unstandardize": lambda: image_options(mean=draw(3), std=draw(3)),
    "pruning.MagnitudePruning": lambda: dict(
        sparsity=0.5, n_m=None, begin=0, end=4, initial=0.0, power=3, frequency=10, skip=()
    ),
    "pruning.magnitude_mask": lambda: dict(weights=draw(3, 4), sparsity=0.5),
    "pruning.n_m_mask": lambda: dict(weights=draw(4, 4), n=2, m=4),
    "pruning.polynomial_sparsity": lambda: dict(
        step=3, begin=0, end=9, final=0.8, initial=0.0, power=3
    ),
    "pruning.prune_filters": lambda: dict(model=model(), fraction=0.5),
    "pruning.sparsity": lambda: dict(model=model(), per_layer=False),
    "pruning.threshold_mask": lambda: dict(weights=draw(3, 4), threshold=0.5),
    "quantization.dequantize": lambda: dict(
        q=np.array([[1, 2]], "int8"), scale=0.1, zero_point=3, axis=None
    ),
    "quantization.fake_quantize": lambda: dict(
        x=draw(2, 3), minimum=-1.0, maximum=1.0, bits=8, axis=None, symmetric=False
    ),
    "quantization.fixed_point_multiplier": lambda: dict(factor=0.3),
    "quantization.integer_conv2d": integer_convolution,
    "quantization.quantization_parameters": lambda: dict(
        minimum=-1.0, maximum=1.0, bits=8, symmetric=False
    ),
    "quantization.quantize": lambda: dict(x=draw(2, 3), scale=0.1, zero_point=3, bits=8, axis=None),
    "quantization.quantize_after_training": lambda: dict(
        model=model(), calibration_images=draw(3, 6, 6, 2), bits=8, skip=()
    ),
    "quantization.quantize_aware": lambda: dict(model=model(), bits=8, skip=()),
    "softmax.log_softmax": lambda: dict(logits=draw(2, 3), axis=-1, temperature=1.0),
    "softmax.softmax": lambda: dict(logits=draw(2, 3), axis=-1, temperature=1.0),
    "softmax.softmax_gradient": lambda: dict(
        probabilities=rows(2, 3), output_gradient=draw(2, 3), axis=-1, temperature=1.0
    ),
    "training.train": training_call,
    "training.value_and_gradients": gradients_call,
}
NOT_CALLED = {
    "datasets.DatasetUnavailable",
    "plotting.set_style",
}  # an error, which takes any message
SLOW = {  # a network is built, trained or written at each call
    *("deployment.parity", "deployment.peak_memory", "deployment.run_litert"),
    *("deployment.run_onnx", "deployment.to_litert", "deployment.to_onnx"),
    *("distillation.distill", "industrial_cnn.industrial_cnn"),
    *("pruning.prune_filters", "pruning.sparsity", "quantization.quantize_after_training"),
    *("quantization.quantize_aware", "training.train", "training.value_and_gradients"),
    *("industrial_cnn.load_torch_weights", "datasets.load", "deployment.latency"),
}


def parameters_of(function):
    """{name: default} of what a function can be given by name."""
    return {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
