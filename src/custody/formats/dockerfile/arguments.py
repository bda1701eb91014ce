"""What stands behind an instruction's name: flags, then values in the form that the instruction has."""

from __future__ import annotations

import re

from policylang.go import jsontext
from policylang.go.spaces import SPACE

_SPACES = re.compile(r"[\t\v\f\r ]+")
_ASCII_SPACE = "\t\n\v\f\r "


def flags(text: str, escape: str) -> tuple[list[str], str]:
    """(flags without their quotes, the rest). BuildKit takes each byte for a letter here, and so does this."""
    text = text.encode().decode("latin-1")
    made: list[str] = []
    word: list[str] = []
    quote = ""
    quoted = inside = False
    at = 0
    while at < len(text):
        letter = text[at]
        if not inside:
            if letter in SPACE:
                at += 1
                continue
            if not text.startswith("--", at):
                return made, _utf8(text[at:])
            inside = True
        if not quote and letter in SPACE:
            if word == ["-", "-"]:
                return made, _utf8(text[at:])
            if quoted or word:
                made.append("".join(word))
            word, quoted, inside = [], False, False
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, quoted = letter, True
        elif letter == escape:
            at += 1
            word += text[at:at + 1]
            if at == len(text):
                quote = ""
        else:
            word.append(letter)
        at += 1
    if inside and word != ["-", "-"] and (quoted or word):
        made.append("".join(word))
    return made, ""


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode(errors="replace")


def values(name: str, text: str, escape: str) -> tuple[list[str], bool]:
    """(values, whether they were a JSON array) of an instruction. Raises ValueError.

    ENV and LABEL give three for each pair: name, value, and `=` or nothing. Those of a name that is none are `[""]`.
    """
    match name.lower():
        case "env" | "label":
            return _pairs(text, name.upper(), escape), False
        case "arg":
            return words(text, escape), False
        case "from" | "expose":
            return (_SPACES.split(text) if text else []), False
        case "maintainer" | "stopsignal" | "user" | "workdir":
            return ([text] if text else []), False
        case "cmd" | "entrypoint" | "run" | "shell":
            return _array(text, [text]) if text else ([], False)
        case "add" | "copy" | "volume":
            return _array(text, _SPACES.split(text) if text else [])
        case "healthcheck":
            return _health(text)
        case "onbuild":
            return [], False
        case _:
            return [""], False


def _array(text: str, otherwise: list[str]) -> tuple[list[str], bool]:
    stripped = text.lstrip(SPACE)
    if not stripped.startswith("["):
        return otherwise, False
    try:
        members = jsontext.decode(stripped)
    except jsontext.JSONError:
        return otherwise, False
    if not all(isinstance(member, str) for member in members):
        raise ValueError("a JSON array with other than texts")
    return members, True


def _health(text: str) -> tuple[list[str], bool]:
    end = next((at for at, letter in enumerate(text) if letter in _ASCII_SPACE), len(text))
    if not end:
        return [], False
    rest = text[end:].lstrip(_ASCII_SPACE)
    command, is_json = _array(rest, [rest]) if rest else ([], False)
    return [text[:end], *command], is_json


def _pairs(text: str, name: str, escape: str) -> list[str]:
    """`a=b c=d`, or the older `a b`."""
    written = words(text, escape)
    if not written:
        return []
    if "=" not in written[0]:
        key, *value = _SPACES.split(text, maxsplit=1)
        if not value:
            raise ValueError(f"{name} with one argument")
        return [key, value[0], ""]
    made: list[str] = []
    for word in written:
        key, sign, value_text = word.partition("=")
        if not sign:
            raise ValueError(f"{word} without =")
        made += [key, value_text, "="]
    return made


def words(text: str, escape: str) -> list[str]:
    """With their quotes and escapes."""
    made: list[str] = []
    word: list[str] = []
    quote = ""
    quoted = False
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if not quote and letter in SPACE:
            if quoted or word:
                made.append("".join(word))
            word, quoted = [], False
            continue
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, quoted = letter, True
        elif letter == escape and quote != "'":
            if at == len(text):
                quote = ""
                break  # nothing is escaped
            word.append(letter)
            letter = text[at]
            at += 1
        word.append(letter)
    if quoted or word:
        made.append("".join(word))
    return made
