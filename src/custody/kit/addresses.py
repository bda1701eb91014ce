"""Addresses of pages as packages state them."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?:git\+|scm:(?:git|svn|hg):)?(https?|git|ssh)://(?:[^/@\s]{0,64}@)?([^\s<>\"'`{}|\\^]{3,500})\Z")
_SHELL = re.compile(r"git@([A-Za-z0-9.-]{3,100}):([^\s<>\"'`{}|\\^]{1,300})\Z")


_PLACE = re.compile(r"(?:[a-z0-9][a-z0-9-]*\.)+[a-z]{2,6}(?P<path>/[\w.~-]+)?\Z")


def place(name: str, kind: str) -> str:
    """The page of a supplier of that type of packages who is called after it: `github.com/gorilla`, `crates.io`.

    Empty for any other name, and for a group of Maven's, `org.ow2.asm`, which is no host.
    """
    match = _PLACE.match(name)
    return f"https://{name}" if match and (match["path"] or kind != "maven") else ""


def address(stated: object) -> str:
    """An `http` or `https` address, of what may be git's; without whoever logs in there. Empty for anything else."""
    if not isinstance(stated, str):
        return ""
    text = stated.strip()
    if match := _SHELL.match(text):
        return f"https://{match[1]}/{match[2]}"
    match = _SCHEME.match(text)
    if match is None or not match[2].isprintable():
        return ""
    return f"{'http' if match[1] == 'http' else 'https'}://{match[2]}"
