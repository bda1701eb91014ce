"""Trust policies: for which images or files whose signatures count, and what is enforced of them.

(notaryproject/specifications trust-store-trust-policy, version 1.0 of both documents.) A document is read strictly: a
field that is not known, a level, override or scope that is none, two statements for one scope are refused by name.

`registryScopePrefixes` is custody's own, and passed over by notation, which reads the same file: all repositories whose
names begin so, where no statement has the whole name.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.sign.notary.directory import STORE_TYPES
from custody.sign.notary.distinguishedname import Name, is_part, parse_name

VERSION = "1.0"
MAX_POLICY = 1 << 20
_MAX_STATEMENTS = 1000
_MAX_ENTRIES = 1000
_STORE_NAME = re.compile(r"[a-zA-Z0-9_.-]+\Z")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?\Z")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_SUBJECT = "x509.subject"
ANY = "*"


class Validation(enum.StrEnum):
    """What is checked of a signature."""

    INTEGRITY = "integrity"
    AUTHENTICITY = "authenticity"
    AUTHENTIC_TIMESTAMP = "authenticTimestamp"
    EXPIRY = "expiry"
    REVOCATION = "revocation"


class Action(enum.StrEnum):
    """What a failure does."""

    ENFORCE = "enforce"
    LOG = "log"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Level:
    """strict, permissive, audit or skip; custom where a statement overrides a part of it."""

    name: str
    actions: Mapping[Validation, Action]


def _level(name: str, *actions: Action) -> Level:
    return Level(name, dict(zip(Validation, actions, strict=True)))


_E, _L, _S = Action.ENFORCE, Action.LOG, Action.SKIP
SKIP = _level("skip", _S, _S, _S, _S, _S)
LEVELS = {level.name: level for level in (
    _level("strict", _E, _E, _E, _E, _E), _level("permissive", _E, _E, _L, _L, _L), _level("audit", _E, _L, _L, _L, _L),
    SKIP)}


class VerifyTimestamp(enum.StrEnum):
    """When a timestamp is asked for, where there is a tsa store."""

    ALWAYS = "always"
    AFTER_CERT_EXPIRY = "afterCertExpiry"


@dataclass(frozen=True, slots=True)
class Statement:
    """One trust policy of a document."""

    name: str
    level: Level
    verify_timestamp: VerifyTimestamp
    trust_stores: tuple[tuple[str, str], ...]
    """Type and name of each: `("ca", "acme")`. No store twice."""
    trusted_identities: tuple[str, ...]
    """As they are written: `*`, or `x509.subject: C=US, ST=WA, O=acme`, or what a plugin knows."""
    subjects: tuple[Name, ...]
    """Those of them that are subjects of certificates."""
    scopes: tuple[str, ...] = ()
    """Repositories, or `*`; of a document for images."""
    prefixes: tuple[str, ...] = ()
    """What names of repositories begin with: `registry.example/team/`."""
    is_global: bool = False
    """Of a document for files: where no statement is named."""

    def stores(self, store_type: str) -> list[str]:
        return [name for kind, name in self.trust_stores if kind == store_type]

    def trusts(self, subject: Name) -> bool:
        return any(is_part(name, subject) for name in self.subjects)


@dataclass(frozen=True, slots=True)
class Document:
    """trustpolicy.json or trustpolicy.oci.json, or trustpolicy.blob.json."""

    statements: tuple[Statement, ...]

    def for_image(self, repository: str) -> Statement:
        """The one statement for `registry/name`: that which names it, else the one with the longest prefix of it, else
        that for `*`. Raises VerificationError.
        """
        _check_scope(repository, "artifact")
        named = next((statement for statement in self.statements if repository in statement.scopes), None)
        prefixed = max(((len(prefix), -place) for place, statement in enumerate(self.statements)
                        for prefix in statement.prefixes if repository.startswith(prefix)), default=None)
        rest = next((statement for statement in self.statements if ANY in statement.scopes), None)
        statement = named or (self.statements[-prefixed[1]] if prefixed else rest)
        if statement is None:
            raise VerificationError(f"{repository}: no trust policy has it among its registryScopes",
                                    hint="a scope names the whole repository; \"*\" is for all that no other names")
        return statement

    def for_blob(self, name: str | None = None) -> Statement:
        """The statement of this name, or without one the global one. Raises VerificationError."""
        for statement in self.statements:
            if statement.is_global if name is None else statement.name == name:
                return statement
        raise VerificationError("trust policy: no statement has globalPolicy, and none was named" if name is None else
                                f"trust policy: no statement is named {name!r}")


def parse_oci(data: bytes, where: str = "trust policy") -> Document:
    """Raises MalformedError, UnsupportedError, saying which statement is wrong and why."""
    document = _document(data, where, blob=False)
    taken: dict[str, str] = {}
    for statement in document.statements:
        for field, scopes in (("registryScopes", statement.scopes), ("registryScopePrefixes", statement.prefixes)):
            for scope in scopes:
                if scope in taken:
                    raise MalformedError(f"{where}: {statement.name}.{field}", got=f"{scope!r}, which "
                                         f"{taken[scope]!r} has too", expected="each scope in one statement")
                taken[scope] = statement.name
    return document


def parse_blob(data: bytes, where: str = "blob trust policy") -> Document:
    """Raises MalformedError, UnsupportedError, saying which statement is wrong and why."""
    document = _document(data, where, blob=True)
    if len(chosen := [statement.name for statement in document.statements if statement.is_global]) > 1:
        raise MalformedError(f"{where}: globalPolicy", got=", ".join(map(repr, chosen)), expected="one statement")
    return document


def _document(data: bytes, where: str, *, blob: bool) -> Document:
    root = Message(strictjson.loads(data, where, max_size=MAX_POLICY, max_depth=8), where)
    version = root.text("version")
    if version != VERSION:
        raise UnsupportedError(f"{where}.version", f"{version!r}; {VERSION} is read")
    statements: dict[str, Statement] = {}
    for entry in root.messages("trustPolicies", _MAX_STATEMENTS):
        statement = _statement(entry, where, blob=blob)
        if statement.name in statements:
            raise MalformedError(f"{entry.where}.name", got=statement.name, expected="a name that no other has")
        statements[statement.name] = statement
    root.done()
    if not statements:
        raise MalformedError(f"{where}.trustPolicies", got="none", expected="a statement")
    return Document(tuple(statements.values()))


def _statement(entry: Message, document: str, *, blob: bool) -> Statement:
    name = entry.text("name", "")
    if not name:
        raise entry.missing("name", "a name")
    where = f"{document}: {name}"
    verification = Message(entry.raw("signatureVerification") or {}, f"{where}.signatureVerification")
    level = _chosen(verification)
    asked = verification.text("verifyTimestamp", "") or VerifyTimestamp.ALWAYS
    if asked not in list(VerifyTimestamp):
        raise UnsupportedError(f"{verification.where}.verifyTimestamp", f"{asked!r}; always and afterCertExpiry are "
                               "known")
    verification.done()
    stores = _texts(entry, "trustStores", where)
    identities = _texts(entry, "trustedIdentities", where)
    if level.name == SKIP.name and (stores or identities):
        raise MalformedError(where, got="trust stores or identities at level skip", expected="none: nothing is checked")
    if level.name != SKIP.name and not (stores and identities):
        raise MalformedError(where, got=f"{len(stores)} trustStores and {len(identities)} trustedIdentities",
                             expected="at least one of each")
    made = Statement(name, level, VerifyTimestamp(asked),
                     tuple(dict.fromkeys(_store(store, where) for store in stores)), tuple(identities),
                     _subjects(identities, f"{where}.trustedIdentities"),
                     *(((), ()) if blob else _scopes(entry, where)), blob and _flag(entry, "globalPolicy", where))
    entry.done()
    return made


def _chosen(verification: Message) -> Level:
    name = verification.text("level", "")
    if name not in LEVELS:
        raise UnsupportedError(f"{verification.where}.level", f"{name!r}; {', '.join(LEVELS)} are known")
    override = verification.raw("override") or {}
    where = f"{verification.where}.override"
    if not isinstance(override, dict):
        raise MalformedError(where, got=override, expected="an object of validations and actions")
    if not override:
        return LEVELS[name]
    if name == SKIP.name:
        raise MalformedError(where, got="one of level skip", expected="none: nothing is checked")
    actions = dict(LEVELS[name].actions)
    for validation, action in override.items():
        if validation not in list(Validation):
            raise UnsupportedError(where, f"{validation!r}; {', '.join(Validation)} are known")
        if not isinstance(action, str) or action not in list(Action):
            raise UnsupportedError(f"{where}.{validation}", f"{action!r}; {', '.join(Action)} are known")
        if validation == Validation.INTEGRITY:
            raise MalformedError(f"{where}.{validation}", got=action, expected="nothing: it is always enforced")
        if action == Action.SKIP and validation != Validation.REVOCATION:
            raise MalformedError(f"{where}.{validation}", got=action, expected="enforce or log")
        actions[Validation(validation)] = Action(action)
    return Level("custom", actions)


def _texts(entry: Message, field: str, where: str) -> list[str]:
    value = entry.raw(field)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES or not all(isinstance(text, str) for text in value):
        raise MalformedError(f"{where}.{field}", got=value, expected=f"a list of at most {_MAX_ENTRIES} texts")
    return value


def _flag(entry: Message, field: str, where: str) -> bool:
    value: Any = entry.raw(field)
    if value is not None and not isinstance(value, bool):
        raise MalformedError(f"{where}.{field}", got=value, expected="true or false")
    return bool(value)


def _store(text: str, where: str) -> tuple[str, str]:
    kind, colon, name = text.partition(":")
    if not colon:
        raise MalformedError(f"{where}.trustStores", got=text, expected="TYPE:NAME, such as ca:acme")
    if kind not in STORE_TYPES:
        raise UnsupportedError(f"{where}.trustStores", f"{text!r} is of no type that is known: "
                               f"{', '.join(STORE_TYPES)}")
    if not _STORE_NAME.match(name):
        raise MalformedError(f"{where}.trustStores", got=text, expected="a name of letters, digits, '_', '.' and '-'")
    return kind, name


def _subjects(identities: Sequence[str], where: str) -> tuple[Name, ...]:
    if ANY in identities and len(identities) > 1:
        raise MalformedError(where, got="'*' beside others", expected="'*' alone")
    names: list[tuple[str, Name]] = []
    for identity in identities:
        kind, colon, value = identity.partition(":")
        if identity == ANY:
            continue
        if not colon:
            raise MalformedError(where, got=identity, expected="TYPE:VALUE, such as x509.subject: C=US, ST=WA, O=acme")
        if kind == _SUBJECT:
            names.append((identity, parse_name(value, where)))
    for at, (identity, name) in enumerate(names):
        for place, (wider, part) in enumerate(names):
            if at != place and is_part(part, name):
                raise MalformedError(where, got=f"{identity!r}, which {wider!r} holds already", expected="no overlap")
    return tuple(name for _, name in names)


def _scopes(entry: Message, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whole names, and what names begin with."""
    scopes, prefixes = _texts(entry, "registryScopes", where), _texts(entry, "registryScopePrefixes", where)
    if not scopes and not prefixes:
        raise MalformedError(f"{where}.registryScopes", got="none", expected="repositories, or '*'")
    if ANY in scopes and len(scopes) + len(prefixes) > 1:
        raise MalformedError(f"{where}.registryScopes", got="'*' beside others", expected="'*' alone")
    for prefix in prefixes:
        _check_prefix(prefix, f"{where}.registryScopePrefixes")
    if len(set(prefixes)) < len(prefixes):
        raise MalformedError(f"{where}.registryScopePrefixes", got="one twice", expected="each once")
    for scope in scopes:
        if scope != ANY:
            _check_scope(scope, f"{where}.registryScopes")
    if len(set(scopes)) < len(scopes):
        raise MalformedError(f"{where}.registryScopes", got="a scope twice", expected="each once")
    return tuple(scopes), tuple(prefixes)


def _check_prefix(prefix: str, where: str) -> None:
    domain, slash, folder = prefix.removesuffix("/").partition("/")
    if not (prefix.endswith("/") and _DOMAIN.match(domain) and (_REPOSITORY.match(folder) if slash else True)):
        raise MalformedError(where, got=prefix, expected="a registry, or the first parts of a repository's name, with "
                             "'/' at the end: registry.example/team/")


def _check_scope(scope: str, where: str) -> None:
    domain, slash, repository = scope.partition("/")
    if not (slash and _DOMAIN.match(domain) and _REPOSITORY.match(repository)):
        raise MalformedError(where, got=scope, expected="a whole repository, such as registry.example/team/app, "
                             "without scheme, tag or wildcard",
                             hint="'*' alone is every repository; registryScopePrefixes is for all that begin alike, "
                             "which notation passes over" if "*" in scope else None)
