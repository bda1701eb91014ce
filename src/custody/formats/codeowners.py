"""CODEOWNERS (GitHub's "About code owners"): rules of a pattern and its owners, as conftest hands them to policies."""

from __future__ import annotations

import re
from typing import Any

from custody.errors import MalformedError

_LONGEST = 64 * 1024
"""Letters of a line."""
_PATTERN = re.compile(r"(?:[A-Za-z0-9*?./@_+()-]|\\+[ \t]?)*")
_OWNERS = re.compile(r"[A-Za-z0-9.@/_%+ \t-]*")
_KINDS = (("email", re.compile(r"([A-Z0-9a-z._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,6})")),
          ("team", re.compile(r"@([A-Za-z0-9-]+/[A-Za-z0-9_-]+)")), ("username", re.compile(r"@([A-Za-z0-9_-]+)")))
_BLANK = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029" \
    "\u202f\u205f\u3000"


def parse(data: bytes, where: str) -> dict[str, Any]:
    """`rules`, each with `pattern`, `owners` (`type` email, team or username, and `value`), `comment` and `lineNumber`;
    None where there are none.

    Raises MalformedError.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="UTF-8") from None
    rules = []
    for number, written in enumerate(text.split("\n"), 1):
        if len(written) > _LONGEST:
            raise MalformedError(f"{where}:{number}", got=f"{len(written)} letters", expected=f"at most {_LONGEST}")
        line = written.strip(_BLANK)
        if line and not line.startswith("#"):
            rules.append({**_rule(line, f"{where}:{number}"), "lineNumber": float(number)})
    return {"rules": rules or None}


def _rule(line: str, where: str) -> dict[str, Any]:
    body, _, comment = line.partition("#")
    match = _PATTERN.match(body)
    pattern = match[0] if match is not None else ""
    rest = body[len(pattern):]
    if rest[:1] not in ("", " ", "\t"):
        raise MalformedError(where, got=rest[0], expected="a letter that patterns have, or a blank behind one")
    if not pattern:
        raise MalformedError(where, got="a line without pattern", expected="one")
    _refuse(pattern, where)
    if (wrong := _OWNERS.sub("", rest, count=1)):
        raise MalformedError(where, got=wrong[0], expected="a letter that owners have")
    return {"pattern": pattern, "owners": [_owner(owner, where) for owner in rest.split()],
            "comment": comment.strip(_BLANK)}


def _refuse(pattern: str, where: str) -> None:
    """What stands for no path. Raises MalformedError."""
    if not any(sign in pattern for sign in "*?\\") and pattern.startswith("/"):
        return
    if "***" in pattern:
        raise MalformedError(where, got=pattern, expected="at most two asterisks beside each other")


def _owner(text: str, where: str) -> dict[str, str]:
    for kind, form in _KINDS:
        if (match := form.fullmatch(text)) is not None:
            return {"type": kind, "value": match[1]}
    raise MalformedError(where, got=text, expected="an owner: @user, @org/team or an email address")
