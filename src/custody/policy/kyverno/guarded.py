"""Findings about what verifyImages guards: names that it does or does not mean, and signers that anybody may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats import reference
from policylang.go.wildcards import glob

Found = tuple[str, str, str, str, str]
"""Path, code, level, message, excerpt."""
_DIGEST = "@sha256:" + "0" * 64
_ANYBODY = (None, "", "*", ".*", "^.*$", ".+", "^.+$")


def guarded(entry: dict[str, Any], path: str) -> Iterator[Found]:
    """The findings in one entry of `verifyImages`."""
    references = entry["imageReferences"]
    for at, text in enumerate(references):
        where = f"{path}.imageReferences[{at}]"
        if not _matches_something(text):
            yield where, "never-matches", "warning", f"no image has a name that {text!r} matches", ""
        yield from lookalike(text, where)
        last = text.rpartition("/")[2]
        if ":" in last and "@" not in last:
            bare = text[:text.rindex(":")]
            if not glob(text, _sample(bare) + _DIGEST):
                yield (where, "tag-only", "warning", "an image that is named by its digest has no tag to match, and is "
                       "not verified", f'- "{text}"\n- "{bare}@*"\n')
    skipped = entry.get("skipImageReferences") or []
    for at, text in enumerate(skipped):
        yield from lookalike(text, f"{path}.skipImageReferences[{at}]")
    if skipped and all(any((glob(skip, _sample(text)) and glob(skip, _sample(text) + _DIGEST)) or skip == text
                           for skip in skipped) for text in references):
        yield (f"{path}.skipImageReferences", "skips-all", "warning",
               "everything that imageReferences match is skipped: nothing is verified", "")
    if not entry.get("attestors") and not entry.get("attestations"):
        yield (path, "verifies-nothing", "warning", "it asks for no signature and no attestation: any image passes",
               "attestors:\n- entries:\n  - keyless: …\n")
    for field in ("verifyDigest", "mutateDigest"):
        if entry.get(field) is False:
            yield (f"{path}.{field}", "mutable-reference", "warning",
                   "the tag may be moved to another image after this one was judged", f"{field}: true\n")
    attested = [(f"attestations[{n}]", attestation.get("attestors") or [{}])
                for n, attestation in enumerate(entry.get("attestations") or [])]
    for kind, sets in (("attestors", entry.get("attestors") or []), *attested):
        for attestor in sets:
            if not attestor:
                yield (f"{path}.{kind}", "any-signer", "warning",
                       "whoever the trust root knows may have attested this", "")
            yield from _signers(attestor, f"{path}.{kind}")


def _signers(attestors: dict[str, Any], path: str) -> Iterator[Found]:
    for at, signer in enumerate(attestors.get("entries") or []):
        keyless = signer.get("keyless")
        where = f"{path}.entries[{at}]"
        for field in ("subject", "issuer") if keyless is not None else ():
            value = keyless.get(field) or keyless.get(f"{field}RegExp")
            if value in _ANYBODY:
                yield f"{where}.keyless.{field}", "any-signer", "warning", f"any {field} may have signed this", ""
            elif keyless.get(f"{field}RegExp") and not anchored(keyless[f"{field}RegExp"]):
                yield (f"{where}.keyless.{field}RegExp", "unanchored-regexp", "warning",
                       f"{keyless[f'{field}RegExp']!r} also matches what only contains it: there is no ^ and $ around "
                       "all of it", f"{field}RegExp: ^{keyless[f'{field}RegExp']}$\n")
            if keyless.get(field) and keyless[field] not in _ANYBODY:
                yield from _open_subject(keyless[field], f"{where}.keyless.{field}")
        if signer.get("attestor"):
            yield from _signers(signer["attestor"], f"{where}.attestor")


def _open_subject(text: str, path: str) -> Iterator[Found]:
    """`https://github.com/myorg*`: a star inside the host or the owner."""
    match = re.match(r"(https?://[^/*?]*(?:/[^/*?]+)?)\*", text)
    if match:
        head = match.group(1)
        alike = f"{head}-evil/x" if head.count("/") > 2 else f"{head}-evil.example/x"
        yield path, "look-alike", "warning", f"{text!r} also matches {alike!r}", f'"{head}/*"\n'


def anchored(pattern: str) -> bool:
    """Whether a regular expression can only match a whole text: ^…$, and no alternative beside them."""
    body = re.sub(r"\\.", "..", pattern)  # what is escaped has no meaning here
    body = re.sub(r"\[\^?\]?[^\]]*\]", lambda brackets: "." * len(brackets.group()), body)
    if not re.match(r"(\(\?[a-zA-Z]+\))?(\^|\\A)", pattern) or not (body.endswith("$") or pattern.endswith(r"\z")):
        return False
    depth = 0
    for letter in body:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 0:
            return False
    return True


def lookalike(pattern: str, path: str) -> Iterator[Found]:
    """A `*` inside a name of registry or organisation also matches names that somebody else can register."""
    head = re.split(r"[*?]", pattern)[0]
    rest = pattern[len(head):]
    if not rest or head.endswith(("/", ":", "@")):
        return
    if not head:
        # `*ghcr.io/…` means a host of which the star is a part; `*.example.com/…` is one owner's, `*:*` anybody's.
        host = rest.lstrip("*?").partition("/")[0]
        if re.match(r"[A-Za-z0-9-]+\.", host) and "/" in rest:
            alike = rest.lstrip("*?").replace("*", "x").replace("?", "x")
            yield (path, "look-alike", "warning", f"{pattern!r} also matches 'evil{alike}'",
                   f'"{rest.lstrip("*?")}"\n')
        return
    if head.count("/") > 1:  # below an organisation, where only its members write
        return
    tail = rest[1:].replace("*", "x").replace("?", "x")
    name = f"{head}-evil" if "/" in head else f"{head}-evil.example"
    for alike in (f"{name}/x{tail}", f"{name}{tail}"):
        if "@" not in head and glob(pattern, alike):
            better = f'"{head}/*"\n' if "." in head or "/" in head else ""
            yield path, "look-alike", "warning", f"{pattern!r} also matches {alike!r}", better
            return


def _sample(pattern: str) -> str:
    """A name that a pattern matches, where it can match one."""
    return pattern.replace("*", "x").replace("?", "x")


def _matches_something(pattern: str) -> bool:
    """Whether some spelling of some image matches: the rule compares every spelling of each."""
    for filled in dict.fromkeys((_sample(pattern), pattern.replace("*", "").replace("?", "x"),
                                 pattern.replace("*", "x/x", 1).replace("*", "x").replace("?", "x"),
                                 pattern.replace("@*", _DIGEST).replace("*", "x").replace("?", "x"),
                                 pattern.replace("@sha256:*", _DIGEST).replace("*", "x"))):
        try:
            named = reference.parse(filled)
        except MalformedError:
            continue
        if any(glob(pattern, spelling) for spelling in reference.spellings(named)):
            return True
    return False
