"""Packages of others, which may be missing and talk much."""

import contextlib
import importlib
import io
import logging
import os
import tempfile
import warnings


def needed(name):
    """A module of the extra `deploy`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{error}: pip install "cnnbook[deploy]" brings it.') from error


@contextlib.contextmanager
def quiet():
    """Without the notes of converters and interpreters on themselves; errors are raised as ever.

    Native code writes past Python, to the file descriptors.
    """
    logged = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryFile() as notes,
        contextlib.ExitStack() as way,
    ):
        warnings.simplefilter("ignore")
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            way.enter_context(redirect(io.StringIO()))
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            way.callback(os.close, saved)
            way.callback(os.dup2, saved, descriptor)
            os.dup2(notes.fileno(), descriptor)
        logging.disable(max(logged, logging.WARNING))
        way.callback(logging.disable, logged)
        yield
