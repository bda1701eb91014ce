"""Plugins of the Notary Project: programs `notation-NAME` that hold keys, make envelopes, or judge signatures.

A command is the one argument, its request JSON on standard input, its answer JSON on standard output; an error is
status 1 with JSON on standard error. (notaryproject/specifications plugin-extensibility, contract 1.0.)
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.errors import (
    AuthenticationError,
    CustodyError,
    MalformedError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.kit import strictjson
from custody.kit.members import items, mapping, text
from custody.ports.programs import Programs
from custody.sign.notary.directory import Directory

CONTRACT = "1.0"
RAW, ENVELOPE = "SIGNATURE_GENERATOR.RAW", "SIGNATURE_GENERATOR.ENVELOPE"
TRUSTED_IDENTITY, REVOCATION = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY", "SIGNATURE_VERIFIER.REVOCATION_CHECK"
_SECONDS, _METADATA_SECONDS = 120.0, 20.0
"""In which a plugin answers: it may ask a service far away, but not to say who it is."""
_MAX_ANSWER = 4 << 20
MAX_TEXT = 4096
MAX_ENTRIES = 100
_ERRORS: dict[str, type[CustodyError]] = {
    "VALIDATION_ERROR": UsageError, "UNSUPPORTED_CONTRACT_VERSION": UsageError, "ACCESS_DENIED": AuthenticationError,
    "TIMEOUT": NetworkError, "THROTTLED": NetworkError, "ERROR": CustodyError}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a plugin says of itself."""

    name: str
    description: str
    version: str
    url: str
    capabilities: tuple[str, ...]


class Plugin:
    """One program. Every method blocks, and raises what `ask` does."""

    def __init__(self, name: str, path: Path, programs: Programs, *, seconds: float = _SECONDS) -> None:
        """Raises NotFoundError where there is no such program, MalformedError where it is no regular file."""
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise NotFoundError(f"plugin {name}: {path}: {error.strerror}",
                                hint="custody notation plugin list shows those that are installed") from None
        if not stat.S_ISREG(mode):
            raise MalformedError(f"plugin {name}: {path}", got="no file", expected="a regular file")
        self.name = name
        self.path = path
        self._programs = programs
        self._seconds = seconds

    def ask(self, command: str, request: Mapping[str, Any], *, seconds: float | None = None) -> dict[str, Any]:
        """The answer to a command, which is not judged here.

        Raises UsageError where the program cannot be started, NetworkError where it does not end or has no measure,
        MalformedError for an answer that is no JSON object, and what the plugin's own error code stands for.
        """
        where = f"plugin {self.name} {command}"
        done = self._programs.run([str(self.path), command], json.dumps(request, ensure_ascii=False).encode(),
                                  seconds=min(seconds or self._seconds, self._seconds), limit=_MAX_ANSWER)
        if done.status != 0:
            raise _failure(where, done.status, done.errors)
        return mapping(strictjson.loads(done.output, f"{where}: answer", max_size=_MAX_ANSWER, max_depth=16),
                       f"{where}: answer")

    def metadata(self, config: Mapping[str, str] | None = None) -> Metadata:
        """Who it is. Raises MalformedError where it leaves out what it must say, or is another one than its file's
        name says; UnsupportedError where it does not speak contract 1.0."""
        answer = self.ask("get-plugin-metadata", configured({}, config or {}), seconds=_METADATA_SECONDS)
        where = f"plugin {self.name} get-plugin-metadata: answer"
        name = text(answer, "name", where, MAX_TEXT)
        if name != self.name:
            raise MalformedError(f"{where}.name", got=name, expected=f"{self.name}, as {self.path.name} says")
        versions = _texts(answer, "supportedContractVersions", where)
        if CONTRACT not in versions:
            raise UnsupportedError(where, f"speaks contract {', '.join(versions) or 'nothing'}; {CONTRACT} is spoken "
                                   "here")
        capabilities = _texts(answer, "capabilities", where)
        if not capabilities:
            raise MalformedError(f"{where}.capabilities", got="none", expected="what it can do")
        description, version, url = (text(answer, key, where, MAX_TEXT) for key in ("description", "version", "url"))
        return Metadata(name, description, version, url, capabilities)


def installed(directory: Directory) -> Sequence[str]:
    """Names of the plugins' folders, links aside, in order. Raises UsageError where they cannot be read."""
    try:
        return sorted(entry.name for entry in directory.plugins.iterdir() if entry.is_dir() and not entry.is_symlink())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{directory.plugins}: {error.strerror}") from None


def open_plugin(directory: Directory, name: str, programs: Programs) -> Plugin:
    """Raises UsageError, NotFoundError, MalformedError."""
    return Plugin(name, directory.plugin(name), programs)


def configured(request: dict[str, Any], config: Mapping[str, str]) -> dict[str, Any]:
    """The request with what is passed to a plugin as it is."""
    return {**request, "pluginConfig": dict(config)} if config else request


def same(answer: Mapping[str, Any], key: str, expected: str, where: str) -> None:
    """Raises VerificationError where an answer does not repeat what was asked for."""
    value = answer.get(key)
    if value != expected:
        got = "nothing" if value is None else repr(str(value)[:200])
        raise VerificationError(f"{where}.{key}: got {got}, expected {expected!r}")


def _texts(answer: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    entries = items(answer, key, where, MAX_ENTRIES)
    if not all(isinstance(entry, str) for entry in entries):
        raise MalformedError(f"{where}.{key}", got=entries, expected="a list of texts")
    return tuple(entries)


def _failure(where: str, status: int, errors: bytes) -> CustodyError:
    """The error that a plugin told, or that it told none as it should."""
    try:
        said = mapping(strictjson.loads(errors, where, max_size=_MAX_ANSWER, max_depth=8), where)
        code, message = text(said, "errorCode", where, MAX_TEXT), said.get("errorMessage")
    except MalformedError:
        words = errors[:500].decode(errors="replace").strip()
        return MalformedError(where, got=f"status {status} and {words!r}" if words else f"status {status} and no words",
                              expected="a JSON error on standard error")
    kind = _ERRORS.get(code, CustodyError)
    return kind(f"{where}: {code}: {str(message or 'no words')[:2000]}")
