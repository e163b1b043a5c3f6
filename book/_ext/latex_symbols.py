"""The symbols of a formula, so that a text can be compared with the equation that it explains.

A symbol is a letter with its accent, its primes and its subscripts: ``\\hat{y}_{i,c}`` is
``("\\hat{y}", ("i", "c"))``. The letters inside its subscripts and exponents are symbols as well,
except where they form a word, as in ``x_{max}``.
"""

import re

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[A-Za-z]|\d+|\S", re.S)
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w+\}")
SPACE = re.compile(r"\\[^A-Za-z{}|]|\\q?quad$|&$")
MARKED = ("\\hat", "\\bar", "\\tilde", "\\mathcal", "\\mathbb", "\\text", "\\mathrm")
GREEK = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi"
    r"|varphi|chi|psi|omega|ell|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega)"
)


def symbols_of(latex):
    """Every symbol of a formula, in its order, as (letter, subscripts)."""
    tokens = TOKEN.findall(ENVIRONMENT.sub(" ", latex))
    return _read([t for t in tokens if not SPACE.match(t)])


def is_known(symbol, known):
    """Whether a symbol is one of the known; subscripts may be left out, from the last."""
    letter, subscripts = symbol
    return any(k == letter and s[: len(subscripts)] == subscripts for k, s in known)


def written(symbol):
    letter, subscripts = symbol
    return letter + (f"_{{{','.join(subscripts)}}}" if subscripts else "")


def _argument(tokens, start):
    """The tokens of the group that begins there, without its braces, and where it ends."""
    if tokens[start : start + 1] != ["{"]:
        return tokens[start : start + 1], start + 1
    depth, end = 1, start + 1
    while depth and end < len(tokens):
        depth += {"{": 1, "}": -1}.get(tokens[end], 0)
        end += 1
    return tokens[start + 1 : end - 1], end


def _split(tokens):
    """The parts between the commas that no bracket holds."""
    parts, depth = [[]], 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _is_word(tokens):
    return len(tokens) > 1 and all(t.isalpha() for t in tokens)


def _read(tokens):
    found, at = [], 0
    while at < len(tokens):
        letter = tokens[at]
        at += 1
        if letter in MARKED:
            inner, at = _argument(tokens, at)
            letter = f"{letter.replace('mathrm', 'text')}{{{''.join(inner)}}}"
        elif not letter.isalpha() and not GREEK.fullmatch(letter):
            continue
        letter, subscripts, inside, at = _scripts(letter, tokens, at)
        found += [(letter, subscripts), *inside]
    return found


def _scripts(letter, tokens, at):
    """What follows a letter: its primes, its subscripts, the symbols inside, where they end."""
    subscripts, inside = (), []
    while at < len(tokens) and tokens[at] in ("'", "_", "^"):
        mark = tokens[at]
        at += 1
        if mark == "'":
            letter += mark
            continue
        inner, at = _argument(tokens, at)
        parts = _split(inner)
        inside += [symbol for part in parts if not _is_word(part) for symbol in _read(part)]
        if mark == "_":
            subscripts = tuple("".join(part) for part in parts)
    return letter, subscripts, inside, at
