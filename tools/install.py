"""How cnnbook is installed: said here, for the README, the introduction and Colab's copies.

Until `released = true` stands under [tool.cnnbook] in pyproject.toml, pip takes the package from
the repository; from then on, from the index.
"""

import tomllib

from tools.storage import ROOT

COMMANDS = """\
```sh
pip install {tensorflow}
```

`[jax]` and `[torch]` take the place of `[tensorflow]`, and the environment variable
`KERAS_BACKEND` says which of them Keras uses. LiteRT and ONNX files are written by TensorFlow, so
that they need two extras, `[tensorflow,deploy]`. From a clone of the repository it is
`pip install ".[tensorflow]"`."""


def read_pyproject(root=ROOT):
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def requirement(pyproject, *extras):
    """What pip is asked for, quoted for a shell."""
    name = f"cnnbook[{','.join(extras)}]" if extras else "cnnbook"
    if pyproject["tool"]["cnnbook"]["released"]:
        return f'"{name}"' if extras else name
    return f'"{name} @ git+{pyproject["project"]["urls"]["Repository"]}"'


def commands(pyproject):
    """The lines on installing that the README and the introduction share."""
    return COMMANDS.format(tensorflow=requirement(pyproject, "tensorflow"))
