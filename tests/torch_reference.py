"""PyTorch's logits of the network of chapter 13, with which the chapter and its tests compare.

    python tests/torch_reference.py     prints LOGITS as PyTorch computes them; needs PyTorch

Weights and images are drawn by NumPy, the same on both sides, so that only the logits of two
images need to be stored.
"""

import numpy as np

SHAPES = {
    "features.0.weight": (64, 3, 3, 3),
    "features.0.bias": (64,),
    "features.1.weight": (64,),
    "features.1.bias": (64,),
    "features.1.running_mean": (64,),
    "features.1.running_var": (64,),
    "features.4.weight": (128, 64, 3, 3),
    "features.4.bias": (128,),
    "features.5.weight": (128,),
    "features.5.bias": (128,),
    "features.5.running_mean": (128,),
    "features.5.running_var": (128,),
    "classifier.1.weight": (256, 8192),
    "classifier.1.bias": (256,),
    "classifier.3.weight": (10, 256),
    "classifier.3.bias": (10,),
}


LOGITS = [
    [-3.0040, -1.3392, -6.2595, -3.5749, -2.9055, 5.4156, 2.0922, 2.0198, -0.1417, -2.6730],
    [-7.4547, -1.2079, -7.8720, 0.4748, -3.7410, 5.9088, 4.5359, 2.1227, 0.5532, -3.5406],
]


def draw_state_dict(seed=0):
    """Random weights in PyTorch's layout; logits of the order of 1 come out."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in SHAPES.items():
        values = rng.standard_normal(shape)
        if name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif len(shape) > 1:
            values *= np.sqrt(2 / np.prod(shape[1:]))
        state[name] = values.astype("float32")
    return state


def draw_images(seed=1):
    """Two random images, (2, 3, 32, 32)."""
    return np.random.default_rng(seed).standard_normal((2, 3, 32, 32)).astype("float32")


def make_network():
    """The network of the technical breakdown, section 9, in PyTorch."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = []
            for inputs, filters in ((3, 64), (64, 128)):
                blocks += [nn.Conv2d(inputs, filters, 3, padding=1), nn.BatchNorm2d(filters)]
                blocks += [nn.ReLU(), nn.MaxPool2d(2)]
            self.features = nn.Sequential(*blocks)
            self.classifier = nn.Sequential(
                nn.Dropout(0.5), nn.Linear(8192, 256), nn.ReLU(), nn.Linear(256, 10)
            )

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    return Network()


def compute_logits():
    import torch

    network = make_network()
    state = {name: torch.from_numpy(array) for name, array in draw_state_dict().items()}
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    with torch.no_grad():
        return network.eval()(torch.from_numpy(draw_images())).numpy()


if __name__ == "__main__":
    print([[f"{v:.4f}" for v in row] for row in compute_logits().tolist()])
