"""Figures that follow the reader's theme: the gray of chapters' drawings becomes the page's ink."""

from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.transforms import SphinxTransform

GRAY = "#7b7b7b"  # cnnbook.plotting.INK
INKS = {"light": "#323232", "dark": "#ced6dd"}  # of the text on each theme's pages


class FollowTheme(SphinxTransform):
    """Makes of each drawing of a notebook two files, of which the theme shows one."""

    default_priority = 250  # before Sphinx gathers the images

    def apply(self):
        for image in list(self.document.findall(nodes.image)):
            if not image["uri"].endswith(".svg"):
                continue
            path = Path(self.env.relfn2path(image["uri"], self.env.docname)[1])
            if path.is_file() and GRAY in (svg := path.read_text(encoding="utf-8")):
                image.replace_self([inked(image, path, svg, theme) for theme in INKS])


def inked(image, path, svg, theme):
    """A copy of the image, with a file of its own in the theme's ink."""
    copy = image.copy()
    name = f"{path.stem}-{theme}.svg"
    path.with_name(name).write_text(svg.replace(GRAY, INKS[theme]), encoding="utf-8")
    copy["uri"] = PurePosixPath(image["uri"]).with_name(name).as_posix()
    copy["classes"] = [*image["classes"], f"ink-{theme}"]
    return copy


def setup(app):
    app.add_transform(FollowTheme)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
