"""Policies on what somebody attests: Rego as cosign asks it (`data.signature.allow`), and CEL.

Rego gets as input what cosign shows (`formats.policyinput`), all files at once, in the Rego of before OPA 1.0. CEL is
custody's own: `statement`, `predicate` and `signer` are its variables, and each file is one expression that is true or
false. A policy that cannot be evaluated does not allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from custody.errors import UnsupportedError, UsageError, language_errors, of_language
from custody.evidence.model import Verified, facts
from custody.formats.intoto import MAX_SIZE
from custody.formats.policyinput import policy_input
from custody.kit import regular, strictjson
from policylang.budget import Limits
from policylang.errors import LanguageError, Shape

if TYPE_CHECKING:
    from policylang.rego import World

QUERY = "data.signature.allow"
_LIMITS = Limits(steps=20_000_000, size=1 << 24)
_LONGEST = 1 << 20
_PACKAGE = re.compile(r"^\s*package\s+signature\b(?![.\[])", re.MULTILINE)


class Objection(NamedTuple):
    """Why one attestation is not allowed."""

    policy: str
    reason: str

    def __str__(self) -> str:
        return f"{self.policy}: {self.reason}"


class Attested(NamedTuple):
    """One attestation, as policies are asked about it."""

    verified: Verified
    payload: bytes
    """Of its envelope."""
    kind: str
    """What `--type` named."""


Ask = Callable[[Attested], Objection | None]


class PredicatePolicies:
    """All that were named, compiled. `world` is what Rego may ask the machine for."""

    def __init__(self, paths: Sequence[Path], world: World) -> None:
        """Raises UsageError for a file that cannot be read or compiled, UnsupportedError for another language."""
        texts: dict[str, dict[str, str]] = {".rego": {}, ".cel": {}}
        for path in paths:
            if path.suffix == ".cue":
                raise UnsupportedError(f"--policy {path}", "CUE is not evaluated",
                                       hint="write it in Rego (package signature, rule allow) or CEL (NAME.cel)")
            if path.suffix not in texts:
                raise UsageError(f"--policy {path}: got a file of type {path.suffix or 'none'}, expected .rego or .cel")
            texts[path.suffix][str(path)] = _read(path)
        with language_errors():
            self._asks: list[Ask] = [_rego(texts[".rego"], world)] if texts[".rego"] else []
            self._asks += [_cel(name, text) for name, text in texts[".cel"].items()]

    def objection(self, attested: Attested) -> Objection | None:
        """The first that does not allow it; None where all do. Raises MalformedError, UnsupportedError for a statement
        that cannot be shown.
        """
        return next((objection for ask in self._asks if (objection := ask(attested)) is not None), None)


def _read(path: Path) -> str:
    try:
        return regular.limited(path, _LONGEST, "--policy").decode()
    except UnicodeDecodeError:
        raise UsageError(f"--policy {path}: it is not UTF-8") from None


def _rego(modules: dict[str, str], world: World) -> Ask:
    """Allowed is what OPA calls so: the query has one value, and that is true."""
    from policylang import rego
    from policylang.rego.builtins.documents import read_json

    try:
        query = rego.Policy(modules, version=0).query(QUERY)
    except LanguageError as error:
        said = of_language(error)
        said.hint = said.hint or ("it is read as the Rego of before OPA 1.0, as cosign reads it; `import rego.v1` in "
                                  "it says otherwise")
        raise said from error
    names = ", ".join(modules)
    undefined = "no rule of it holds for this statement" if any(map(_PACKAGE.search, modules.values())) else (
        "no file has `package signature`")

    def ask(attested: Attested) -> Objection | None:
        shown = read_json(policy_input(attested.payload, attested.kind))
        try:
            results = query({}, shown, limits=_LIMITS, world=world)
        except LanguageError as error:
            return Objection(names, error.message)
        values = [rego.to_json(value) for result in results for value in result.expressions]
        if len(values) == 1 and values[0] is True:
            return None
        return Objection(names, f"{QUERY} is {_shown(values[0])}, expected true" if values else
                         f"{QUERY} is undefined: {undefined}")

    return ask


def _shown(value: Any) -> str:
    from custody.kit.canonical import canonical

    text = canonical(value).decode()
    return text if len(text) <= 80 else f"{text[:79]}…"


def _cel(name: str, text: str) -> Ask:
    from policylang import cel
    from policylang.cel.libraries import ext

    env = cel.Env([*ext.everything()],
                  variables={"statement": cel.DYN, "predicate": cel.DYN, "signer": cel.DYN})
    if (result := str(env.check(text, name).result)) not in ("bool", "dyn"):
        raise UsageError(f"--policy {name}: got an expression of type {result}, expected one that is true or false")
    program = env.compile(text, name=name, limits=_LIMITS)

    def ask(attested: Attested) -> Objection | None:
        statement = strictjson.loads(attested.payload, "statement", max_size=MAX_SIZE, max_depth=200)
        signer = facts(attested.verified.signer)
        try:
            value = program({"statement": statement, "predicate": statement.get("predicate"), "signer": signer})
        except LanguageError as error:
            return Objection(name, error.message)
        if value is True:
            return None
        if isinstance(value, cel.CelError):
            return Objection(name, value.message)
        return Objection(name, f"it is {'false' if value is False else Shape(value)}, expected true")

    return ask
