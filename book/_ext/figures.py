"""Figures that follow the reader's theme: the gray of chapters' drawings becomes the page's ink."""

from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

GRAY = "#7b7b7b"  # cnnbook.plotting.INK
INKS = {"light": "#323232", "dark": "#ced6dd"}  # of text on the theme's pages


def inked(svg, theme):
    """The drawing with the ink of a theme."""
    return svg.replace(GRAY, INKS[theme])


class FollowTheme(SphinxTransform):
    """Each drawing of a notebook as two files, of which the theme shows one."""

    default_priority = 250  # before Sphinx gathers the images

    def apply(self):
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir, self.env.doc2path(self.env.docname, base=False)).parent
            path = path / image["uri"]
            if path.suffix != ".svg" or not path.is_file():
                continue
            svg = path.read_text(encoding="utf-8")
            if GRAY in svg:
                image.replace_self([follow(image, path, svg, theme) for theme in INKS])


def follow(image, path, svg, theme):
    """A copy of the image that is shown in one theme only."""
    copy = image.copy()
    name = f"{path.stem}.{theme}.svg"
    path.with_name(name).write_text(inked(svg, theme), encoding="utf-8")
    copy["uri"] = (Path(image["uri"]).parent / name).as_posix()
    copy["classes"] = [*image["classes"], f"only-{theme}"]
    return copy


def setup(app):
    app.add_transform(FollowTheme)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
