"""What nbval compares: of a drawing, as of a picture, only that it is there."""

from pathlib import Path


def pytest_configure(config):
    options = config.option
    if getattr(options, "nbval", False) and not options.nbval_sanitize_with:
        options.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))
