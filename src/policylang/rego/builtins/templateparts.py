"""A template's texts and actions apart, as Go's text/template/parse lexes them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policylang.rego.declare import BuiltinError

_SPACE = " \t\r\n"
_ACTION = re.compile(
    r"""\{\{(-(?=[ \t\r\n]))?((?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?!\}\})[^"`])*?)((?<=[ \t\r\n])-)?\}\}""", re.DOTALL)
_COMMENT = re.compile(r"\{\{(-[ \t\r\n])?/\*")
_COMMENT_END = re.compile(r"([ \t\r\n]-)?\}\}")


def wrong(message: str) -> BuiltinError:
    """The error of a template, in Go's words."""
    return BuiltinError(f"template: template:1: {message}")


def split(template: str) -> Iterator[tuple[bool, str]]:
    """(is an action, text) …; `{{-` and `-}}` take the space beside them, and comments are none."""
    at, trim = 0, False
    while (start := template.find("{{", at)) >= 0:
        inside: str | None = None
        if (comment := _COMMENT.match(template, start)) is not None:
            close = template.find("*/", comment.end())
            if close < 0:
                raise wrong("unclosed comment")
            end = _COMMENT_END.match(template, close + 2)
            if end is None:
                raise wrong("comment ends before closing delimiter")
            trims, trimmed, after = comment[1], end[1], end.end()
        else:
            action = _ACTION.match(template, start)
            if action is None:
                raise wrong("unclosed action")
            inside, trims, trimmed, after = action[2], action[1], action[3], action.end()
        text = template[at:start]
        text = text.lstrip(_SPACE) if trim else text
        yield False, text.rstrip(_SPACE) if trims else text
        if inside is not None:
            yield True, inside.strip(_SPACE)
        trim, at = bool(trimmed), after
    rest = template[at:]
    yield False, rest.lstrip(_SPACE) if trim else rest
