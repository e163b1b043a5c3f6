"""Functions in which odd values are known to go wrong: whose subject it is, and one such call.

A call that no longer fails is an error: look for another one, or take the entry out.
"""

KNOWN = {
    "distillation.distill": ("training", "optimizer", "text"),
    "quantization.fake_quantize": ("networks", "symmetric", "text"),
    "quantization.integer_conv2d": ("networks", "bias", "dict"),
    "quantization.quantization_parameters": ("networks", "symmetric", "text"),
    "quantization.quantize_after_training": ("networks", "skip", "one"),
    "quantization.quantize_aware": ("networks", "skip", "one"),
    "training.train": ("training", "model", "one"),
    "training.value_and_gradients": ("training", "model", "one"),
}
