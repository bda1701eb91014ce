"""How the result of `custody sbom --prove` is told."""

from __future__ import annotations

from typing import Any

import msgspec

from custody.errors import DeniedError, MissingEvidenceError
from custody.formats.bom import Catalog, Proof

_BAD = ("changed", "added")


def rows(catalog: Catalog) -> list[tuple[str, ...]]:
    """The table: what is not as its package says, the worst first."""
    proof = catalog.proof or Proof(stated=0, same=0)
    return [("STATE", "PATH", "PACKAGE", "LAYER", "REASON"), *(
        (entry.state, entry.path, entry.package or "-", entry.layer[7:19] or "-", entry.reason)
        for entry in proof.differences)]


def to_json(catalog: Catalog) -> dict[str, Any]:
    """Keys: `name`, `digest`, `stated`, `same`, `counts`, `differences`, `unproven`, `unreadable`."""
    proof = catalog.proof or Proof(stated=0, same=0)
    return {"name": catalog.name, "digest": catalog.digest, "stated": proof.stated, "same": proof.same,
            "counts": dict(proof.counts), "differences": [msgspec.to_builtins(entry) for entry in proof.differences],
            "unproven": dict(proof.unproven), "unreadable": list(proof.unreadable)}


def summary(proof: Proof) -> list[str]:
    """What people read: counts, and what was not compared."""
    lines = [f"proven: {proof.same} of {proof.stated} files are what their packages say" + "".join(
        f"; {count} {state}" for state, count in proof.counts)]
    if proof.unproven:
        lines.append("not compared: packages that state no digests of their files: " + ", ".join(
            f"{kind} {count}" for kind, count in proof.unproven))
    lines += [f"warning: list of installed files not read: {reason}" for reason in proof.unreadable]
    return lines


def require(proof: Proof) -> None:
    """Raises DeniedError for what was changed, MissingEvidenceError for what could not be judged."""
    bad = sum(proof.count(state) for state in _BAD)
    if bad:
        first = next(entry for entry in proof.differences if entry.state in _BAD)
        whose = "their packages say" if bad > 1 else "its package says"
        raise DeniedError(f"{bad} file{'s' * (bad > 1)} not as {whose}, first: {first.path}: {first.state}")
    if not proof.stated or proof.unreadable or proof.count("unread"):
        reason = f"{proof.count('unread')} files not read" if proof.stated else "no package states digests of files"
        raise MissingEvidenceError(f"--fail-on-changed: {proof.unreadable[0] if proof.unreadable else reason}")
