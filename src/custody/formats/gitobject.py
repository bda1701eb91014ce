"""Git objects as git writes them: commits and tags with their signatures, trees (git-cat-file, gitformat-signature)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from custody.errors import MalformedError, UnsupportedError, VerificationError

_ID = re.compile(rb"[0-9a-f]{40}\Z")
_PERSON = re.compile(rb"(?P<name>[^<>\n]*) ?<(?P<email>[^<>\n]*)> (?P<time>-?\d{1,12}) [+-]\d{4}\Z")
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""Seconds from 1970 to the beginning of year 1 and to the end of year 9999."""
_MAX_COMMIT = 4 * 1024 * 1024
_SIGNATURE = re.compile(rb"^-----BEGIN (?:SSH SIGNATURE|PGP SIGNATURE|PGP MESSAGE|SIGNED MESSAGE)-----$", re.MULTILINE)
"""Where git sees a tag's signature begin (gpg-interface.c)."""
_MAX_SUMMARY = 1000
"""Bytes of a commit's first line that are kept: there may be a million commits."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; `payload` is what its signature covers."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str
    committer: str
    """The committer's email address: what the committer wrote, not what anybody proved."""
    time: int
    """Committer time, seconds since 1970; chosen by the committer."""
    summary: str
    signature: str | None
    payload: bytes

    kind = "commit"
    role = "committer"

    @property
    def person(self) -> str:
        """Whose signature it must have."""
        return self.committer


@dataclass(frozen=True, slots=True)
class Tag:
    """One annotated tag; `payload` is what its signature covers."""

    id: str
    target: str
    """The id of what it names."""
    target_kind: str
    name: str
    person: str
    """The tagger's email address: what the tagger wrote."""
    time: int
    """Tagger's time, seconds since 1970."""
    signature: str | None
    payload: bytes

    kind = "tag"
    role = "tagger"


def moment_of(signed: Commit | Tag) -> datetime:
    """The time that its committer or tagger wrote. Raises VerificationError for one that is none."""
    try:
        return datetime.fromtimestamp(signed.time, UTC)
    except (OverflowError, ValueError, OSError):
        raise VerificationError(f"{signed.role} time {signed.time} is no time") from None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a tree; `mode` is git's: 100644, 100755, or 120000 for a symbolic link."""

    path: str
    mode: int
    id: str


def parse_commit(commit_id: str, data: bytes) -> Commit:
    """Decode a raw commit object. Raises MalformedError."""
    where = f"commit {commit_id}"
    if len(data) > _MAX_COMMIT:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {_MAX_COMMIT}")
    head, blank, message = data.partition(b"\n\n")
    headers: list[tuple[bytes, bytes]] = []
    kept: list[bytes] = []
    for line in head.split(b"\n"):
        name, space, value = line.partition(b" ")
        if not name and space and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + b"\n" + value)
        else:
            headers.append((name, value))
        if headers[-1][0] in (b"gpgsig", b"gpgsig-sha256"):
            continue
        kept.append(line)
    signatures = [value for name, value in headers if name == b"gpgsig"]
    if len(signatures) > 1:
        raise MalformedError(where, got=f"{len(signatures)} gpgsig headers", expected="at most one")
    signature = signatures[0] if signatures else None
    # The order is git's own (fsck): tree, parents, author, committer; a second tree further down would be a disguise.
    names = [name for name, _ in headers]
    count = names.count(b"parent")
    if names[:3 + count] != [b"tree", *[b"parent"] * count, b"author", b"committer"] or any(
            names.count(name) != 1 for name in (b"tree", b"author", b"committer")):
        raise MalformedError(where, got=b" ".join(names[:8]), expected="tree, parents, author, committer, in order")
    values = dict(headers)
    parents = tuple(value for name, value in headers if name == b"parent")
    for value in (values[b"tree"], *parents):
        if not _ID.match(value):
            raise MalformedError(where, got=value, expected="40 hexadecimal digits")
    author, committer = _PERSON.match(values[b"author"]), _PERSON.match(values[b"committer"])
    if author is None or committer is None:
        raise MalformedError(where, got=values[b"committer"], expected="Name <email> seconds zone")
    if not _FIRST <= int(committer["time"]) <= _LAST:
        raise MalformedError(where, got=values[b"committer"], expected="a time in the years 1 to 9999")
    return Commit(commit_id, values[b"tree"].decode(), tuple(parent.decode() for parent in parents),
                  author["email"].decode("utf-8", "replace"), committer["email"].decode("utf-8", "replace"),
                  int(committer["time"]), message.partition(b"\n")[0][:_MAX_SUMMARY].decode("utf-8", "replace"),
                  signature.decode("ascii", "replace") if signature is not None else None,
                  b"\n".join(kept) + blank + message)


def parse_tag(tag_id: str, data: bytes) -> Tag:
    """Decode a raw tag object, whose signature stands behind its message. Raises MalformedError, UnsupportedError."""
    where = f"tag {tag_id}"
    if len(data) > _MAX_COMMIT:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {_MAX_COMMIT}")
    head, blank, message = data.partition(b"\n\n")
    headers = [(name, value) for name, _, value in (line.partition(b" ") for line in head.split(b"\n"))]
    names = [name for name, _ in headers]
    if b"gpgsig" in names or b"gpgsig-sha256" in names:
        raise UnsupportedError(f"{where}: gpgsig", "a tag's signature for another hash than the repository's")
    if names != [b"object", b"type", b"tag", b"tagger"]:
        raise MalformedError(where, got=b" ".join(names[:8]), expected="object, type, tag, tagger, in order")
    target, kind, name, tagger = (value for _, value in headers)
    if not _ID.match(target):
        raise MalformedError(where, got=target, expected="40 hexadecimal digits")
    if kind not in (b"commit", b"tag", b"tree", b"blob"):
        raise MalformedError(where, got=kind, expected="commit, tag, tree or blob")
    person = _PERSON.match(tagger)
    if person is None or not _FIRST <= int(person["time"]) <= _LAST:
        raise MalformedError(where, got=tagger, expected="Name <email> seconds zone, in the years 1 to 9999")
    begins = [match.start() for match in _SIGNATURE.finditer(message)]
    begin = begins[-1] if begins else len(message)  # git takes the last: what stands before is the message
    return Tag(tag_id, target.decode(), kind.decode(), name.decode("utf-8", "replace"),
               person["email"].decode("utf-8", "replace"), int(person["time"]),
               message[begin:].decode("ascii", "replace") if begins else None, head + blank + message[:begin])


def parse_tree(tree_id: str, data: bytes) -> list[tuple[int, str, str]]:
    """(mode, name, object id) of each entry. Raises MalformedError."""
    entries, seen, at = [], set(), 0
    while at < len(data):
        space, end = data.find(b" ", at, at + 8), data.find(b"\0", at)
        if space < 0 or end < 0 or end + 21 > len(data):
            raise MalformedError(f"tree {tree_id}", got=data[at:at + 20], expected="mode, name, object id")
        try:
            mode, name = int(data[at:space], 8), data[space + 1:end].decode()
        except ValueError:
            raise MalformedError(f"tree {tree_id}", got=data[at:end],
                                 expected="an octal mode and a UTF-8 name") from None
        if name in ("", ".", "..") or "/" in name or name.lower() == ".git":
            raise MalformedError(f"tree {tree_id}", got=name, expected="a name that stays inside the tree")
        if name in seen:
            raise MalformedError(f"tree {tree_id}", got=f"{name!r} twice", expected="each name once")
        seen.add(name)
        entries.append((mode, name, data[end + 1:end + 21].hex()))
        at = end + 21
    return entries
