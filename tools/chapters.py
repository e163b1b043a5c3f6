"""The one list of chapters, book/_data/chapters.yml."""

from dataclasses import dataclass

import yaml

from tools.storage import ROOT


@dataclass(frozen=True)
class Module:
    """A module of the package that has a page among the functions."""

    name: str
    holds: str


@dataclass(frozen=True)
class Chapter(Module):
    number: int
    title: str
    part: str
    after: str

    @property
    def stem(self):
        """The notebook's name, without its folder and suffix."""
        return f"{self.number:02d}_{self.name}"


@dataclass(frozen=True)
class Part:
    name: str
    title: str
    about: str
    chapters: tuple


@dataclass(frozen=True)
class Contents:
    """The parts with their chapters, and the modules that belong to no chapter."""

    parts: tuple
    others: tuple

    @property
    def chapters(self):
        return tuple(chapter for part in self.parts for chapter in part.chapters)

    def only(self, names):
        """The same without the chapters that have none of these names, and without empty parts."""
        parts = []
        for part in self.parts:
            chapters = tuple(c for c in part.chapters if c.name in names)
            if chapters:
                parts.append(Part(part.name, part.title, part.about, chapters))
        return Contents(tuple(parts), self.others)


def read_contents(root=ROOT):
    """All chapters, also those that do not exist yet."""
    listed = yaml.safe_load((root / "book" / "_data" / "chapters.yml").read_text("utf-8"))
    parts, number = [], 0
    for part in listed["parts"]:
        chapters = []
        for entry in part["chapters"]:
            number += 1
            chapters.append(Chapter(number=number, part=part["name"], **entry))
        about = part.get("about", "")
        parts.append(Part(part["name"], part["title"], about, tuple(chapters)))
    return Contents(tuple(parts), tuple(Module(**entry) for entry in listed["modules"]))


def existing_names(contents, root=ROOT):
    """The names of the chapters whose modules exist."""
    return {c.name for c in contents.chapters if (root / "cnnbook" / f"{c.name}.py").exists()}
