"""Plugins of Sigstore's clients: programs `sigstore-kms-NAME`, which have the keys `NAME://…`.

A plugin is run once for each question: its arguments are the protocol's version and JSON, what is to be signed is its
standard input, its answer is JSON on standard output. Its exit status says nothing. Secrets it takes from its
environment, none is in its arguments. (sigstore/sigstore, pkg/signature/kms/cliplugin, protocol v1.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from custody.errors import CustodyError, MalformedError, NetworkError, UnsupportedError
from custody.formats.protojson import decode_base64
from custody.kit import strictjson
from custody.kit.clock import Clock, format_rfc3339
from custody.kit.members import mapping, object_of, text, text_of
from custody.ports.programs import Programs

REFERENCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.+-]{0,63})://(.+)", re.DOTALL)
PREFIX = "sigstore-kms-"
_PROTOCOL = "v1"
_SECONDS = 120.0
"""In which a plugin answers: somebody may have to touch a token."""
_MAX_ANSWER = 1 << 20
_MAX_TEXT = 64 * 1024
_HASHES = {"": 0, "sha256": 5, "sha384": 6, "sha512": 7}
"""As Go's crypto.Hash counts them."""
_NO_OPTIONS = {"keyVersion": "", "remoteVerification": False}


class PluginKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, name: str, program: Callable[[str], str | None], programs: Programs, clock: Clock) -> None:
        """`program`: the path of a program by its name, None where there is none.

        Raises MalformedError for what is no name of a key, UnsupportedError where the plugin is not installed.
        """
        matched = REFERENCE.fullmatch(name)
        if matched is None:
            raise MalformedError("key", got=name, expected="NAME://KEY")
        path = program(PREFIX + matched[1])
        if path is None:
            raise UnsupportedError(name, f"custody knows no {matched[1]}:// keys, and there is no program "
                                   f"{PREFIX}{matched[1]}", hint="install that plugin of Sigstore's clients on PATH")
        self.name = name
        self._path = path
        self._resource = matched[2]
        self._programs = programs
        self._clock = clock

    async def public_key(self) -> str | None:
        answer = await self._ask("publicKey", {"publicKeyOptions": {"rpcOptions": _NO_OPTIONS}}, "sha256")
        return self._pem(answer, "publicKey")

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        options = {"rpcOptions": _NO_OPTIONS, "messageOptions": {"digest": None, "hashFunc": _HASHES[hash_name]}}
        answer = await self._ask("signMessage", {"signOptions": options}, hash_name, message)
        return decode_base64(answer.get("signature"), f"{self.name}: signMessage.signature")

    async def create(self) -> str:
        algorithm = text(await self._ask("defaultAlgorithm", {}, "sha256"), "defaultAlgorithm",
                         f"{self.name}: defaultAlgorithm", 200)
        return self._pem(await self._ask("createKey", {"algorithm": algorithm}, "sha256"), "createKey")

    def _pem(self, answer: dict[str, Any], method: str) -> str:
        data = decode_base64(answer.get("publicKeyPEM"), f"{self.name}: {method}.publicKeyPEM")
        return data[:_MAX_TEXT].decode("ascii", "replace")

    async def _ask(self, method: str, request: dict[str, Any], hash_name: str, given: bytes = b"") -> dict[str, Any]:
        """What the plugin answers to a method. Raises CustodyError with the error that it tells."""
        where = f"{self.name}: {method}"
        deadline = format_rfc3339(self._clock() + timedelta(seconds=_SECONDS))
        initial = {"ctxDeadline": deadline, "protocolVersion": _PROTOCOL, "keyResourceID": self._resource,
                   "hashFunc": _HASHES[hash_name], "rpcOptions": _NO_OPTIONS}
        arguments = json.dumps({"initOptions": initial, "methodName": method, method: request})
        try:
            # In place, not in a thread: whoever interrupts a command ends the plugin too.
            done = self._programs.run([self._path, _PROTOCOL, arguments], given, seconds=_SECONDS, limit=_MAX_ANSWER)
        except NetworkError:
            raise NetworkError(f"{where}: {self._path} was ended: it was not done within {_SECONDS:g} s, or wrote more "
                               f"than {_MAX_ANSWER} bytes") from None
        try:
            answer = mapping(strictjson.loads(done.output, where, max_size=_MAX_ANSWER, max_depth=16), where)
        except MalformedError:
            words = done.errors[-500:].decode(errors="replace").strip()
            raise MalformedError(f"{where}: answer", got=f"{len(done.output)} bytes that are no JSON object, status "
                                 f"{done.status}{f', and {words!r}' if words else ''}",
                                 expected=f"what {self._path} has to say, on standard output") from None
        if message := text_of(answer, "errorMessage"):
            raise CustodyError(f"{where}: {message[:2000]}")
        return object_of(answer, method)
