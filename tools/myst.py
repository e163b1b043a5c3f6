"""Reads MyST Markdown: its blocks, its directives, and what stands inside a line."""

import re
import textwrap
from dataclasses import dataclass

import yaml

FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|:{3,}|~{3,})(?P<rest>.*)$")
DIRECTIVE = re.compile(r"^\s*\{(?P<name>[\w:+.-]+)\}\s*(?P<argument>.*)$")
INLINE = re.compile(
    r"""
      \$\$(?P<display>(?:(?!\$\$).)+)\$\$(?:[ \t]*\((?P<label>[\w:.-]+)\)[ \t]*(?=\n|\Z))?
    | \{(?P<role>[A-Za-z][\w:.+-]*)\}(?P<ticks>`+)(?P<content>(?:(?!\n\s*\n).)+?)(?P=ticks)
    | (?P<code>(?P<run>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=run)(?!`))
    | (?<![\\$])\$(?P<math>[^$\n]+(?:\n[^$\n]+)*)\$
    | (?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<url>[^()\s]+)\)
    | ^\((?P<target>[\w:.-]+)\)=[ \t]*(?:\n|\Z)
    | ^(?:%[^\n]*|\+\+\+[^\n]*)(?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
SURVIVORS = re.compile(
    r"\{[A-Za-z][\w:.+-]*\}`[^`\n]*`?|^\s*(?:`{3,}|:{3,}|~{3,})\s*\{[^\n]*|^:{3,}[^\n]*"
    r"|^\([\w:.-]+\)=|\$\$[ \t]*\(eq[\w:.-]+\)|\{\{[ \t]*\w+[ \t]*\}\}",
    re.MULTILINE,
)


@dataclass
class Directive:
    name: str
    argument: str
    options: dict
    body: str
    indent: str = ""


def split_options(lines):
    """The options at the head of a directive's lines, and the rest."""
    if lines and lines[0].strip() == "---":
        end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
        if end is not None:
            return yaml.safe_load("\n".join(lines[1:end])) or {}, lines[end + 1 :]
    options = {}
    while lines and (match := re.match(r"^\s*:([\w-]+):\s*(.*)$", lines[0])):
        options[match[1]] = match[2].strip()
        lines = lines[1:]
    return options, lines


def blocks(text):
    """Splits Markdown into ("text", str), ("code", str) and ("directive", Directive)."""
    lines = text.split("\n")
    plain = []
    while lines:
        line = lines.pop(0)
        opening = open_fence(line)
        if not opening:
            plain.append(line)
            continue
        if plain:
            yield "text", "\n".join(plain)
            plain = []
        body, last = take_body(lines, opening["fence"])
        if DIRECTIVE.match(opening["rest"]):
            yield "directive", make_directive(opening, body)
        else:
            yield "code", "\n".join([line, *body, *last])
    if plain:
        yield "text", "\n".join(plain)


def open_fence(line):
    """The match of a line that opens code or a directive, else None."""
    opening = FENCE.match(line)
    if not opening:
        return None
    is_span = opening["fence"][0] == "`" and "`" in opening["rest"]
    is_colons = opening["fence"][0] == ":" and not DIRECTIVE.match(opening["rest"])
    return None if is_span or is_colons else opening


def take_body(lines, fence):
    """Takes the lines within a fence, and the list of the line that closes it, if there is one."""
    closing = re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
    body = []
    while lines and not closing.match(lines[0]):
        body.append(lines.pop(0))
    return body, [lines.pop(0)] if lines else []


def make_directive(opening, body):
    match = DIRECTIVE.match(opening["rest"])
    inner = textwrap.dedent("\n".join(body)).split("\n") if body else []
    options, inner = split_options(inner)
    text = "\n".join(inner).strip("\n")
    return Directive(match["name"], match["argument"].strip(), options, text, opening["indent"])


def with_title(content):
    """A role's content as (title or None, target)."""
    match = re.fullmatch(r"(.*?)\s*<([^<>]+)>", content, re.DOTALL)
    return (match[1], match[2]) if match else (None, content)


def survivors(text):
    """MyST that is left in a converted text, outside code."""
    left = []
    for kind, block in blocks(text):
        if kind == "directive":
            left.append(f"directive {{{block.name}}}")
        elif kind == "text":
            left += [m[0].strip() for m in SURVIVORS.finditer(without_code(block))]
    return left


def without_code(text):
    """The text without code spans, except those that a role stands in front of, and math."""

    def blank(match):
        return "" if match["code"] or match["math"] else match[0]

    return INLINE.sub(blank, text)
