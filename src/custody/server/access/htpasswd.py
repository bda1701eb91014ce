"""Passwords of an htpasswd file, bcrypt only, as distribution's registry reads it; guesses cost guessers most.

bcrypt is slow on purpose. So hashing is for one thread, which rests after a wrong guess for as long as it took; few may
wait, and of one address fewer; and what was found out is remembered for a while, under a keyed hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt

from custody.errors import AuthenticationError, CustodyError, MalformedError, UsageError

_MAX_FILE = 1 << 20
_MAX_COST = 14  # about a second; htpasswd -B makes 5, distribution's guide 10
_MAX_PASSWORD = 72
"""Bytes that bcrypt looks at."""
_HASH = re.compile(rb"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_WAITING, _WAITING_EACH = 16, 4
"""Passwords that wait, of all addresses and of one; requests with the same password are one."""
_REMEMBERED = 4096
_RIGHT, _WRONG = 300.0, 60.0  # seconds

Seen = tuple[int, int, int, int]


class BusyError(CustodyError):
    """Too many passwords wait to be checked."""

    code = "busy"
    http_status = 429


def parse_htpasswd(data: bytes, where: str) -> dict[str, bytes]:
    """User → bcrypt hash. Raises MalformedError naming the line; it never shows a hash."""
    if len(data) > _MAX_FILE:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {_MAX_FILE}")
    users: dict[str, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, secret = line.partition(b":")
        try:
            user = name.decode()
        except UnicodeDecodeError:
            raise MalformedError(f"{where}:{number}", got="bytes that are no UTF-8", expected="user:hash") from None
        match = _HASH.fullmatch(secret.rstrip())
        if not colon or not user or not user.isprintable():
            raise MalformedError(f"{where}:{number}", got="no user and hash", expected="user:hash")
        if match is None:
            raise MalformedError(f"{where}:{number}", got=f"{user} with a hash that is not bcrypt",
                                 expected="$2y$…", hint="htpasswd -B")
        if not 4 <= int(match["cost"]) <= _MAX_COST:
            raise MalformedError(f"{where}:{number}", got=f"{user} with bcrypt cost {int(match['cost'])}",
                                 expected=f"4 to {_MAX_COST}: each login would take that long")
        if user in users:
            raise MalformedError(f"{where}:{number}", got=f"{user} once more", expected="each user once")
        users[user] = match.group()
    return users


class PasswordFile:
    """Checks passwords; a file that changed is read again, one that then cannot be read lets nobody in."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic,
                 rest: Callable[[float], None] = time.sleep) -> None:
        """Raises UsageError, MalformedError where it cannot be read now."""
        self._path = path
        self._monotonic = monotonic
        self._rest = rest
        self._seen: Seen | None = None
        self._users: dict[str, bytes] = {}
        self._decoy = b""
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[bytes, bool, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self._pending: dict[bytes, asyncio.Task[bool]] = {}
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="htpasswd")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="htpasswd-file")
        self._read()

    def close(self) -> None:
        self._hasher.shutdown(cancel_futures=True)
        self._reader.shutdown(cancel_futures=True)

    def failure(self) -> str | None:
        """Why the file as it is now lets nobody in; None where it can be read. Reads, so it is for a thread."""
        try:
            self._reader.submit(self._read).result()
        except CustodyError as error:
            return error.message
        return None

    async def verify(self, user: str, password: str, address: str) -> None:
        """Raises AuthenticationError, the same one whoever it is; BusyError; UsageError for a file that is broken."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader, self._read)
        secret = password.encode()
        stored_hash = self._users.get(user, self._decoy)
        name = hashlib.blake2b(user.encode() + b"\0" + secret, key=self._key, digest_size=32).digest()
        right = self._remembered(name, stored_hash)
        if right is None:
            if name not in self._pending:
                if self._waiting.total() >= _WAITING or self._waiting[address] >= _WAITING_EACH:
                    raise BusyError("too many passwords wait to be checked", hint="try again in a second")
                self._waiting[address] += 1
                self._pending[name] = loop.create_task(self._find_out(name, secret, stored_hash, address))
            right = await asyncio.shield(self._pending[name])  # whoever hangs up does not take it from others
        if not right or user not in self._users:
            raise AuthenticationError("the user or the password is wrong")

    async def _find_out(self, name: bytes, secret: bytes, stored_hash: bytes, address: str) -> bool:
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._hasher, self._check, secret, stored_hash)
        finally:
            self._pending.pop(name, None)
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        self._remember(name, stored_hash, right)
        return right

    def _check(self, secret: bytes, stored_hash: bytes) -> bool:
        begun = self._monotonic()
        # bcrypt sees no more than 72 bytes; a longer password is not the one that was hashed.
        right = bcrypt.checkpw(secret[:_MAX_PASSWORD], stored_hash) and len(secret) <= _MAX_PASSWORD
        if not right:
            self._rest(self._monotonic() - begun)
        return right

    def _remembered(self, name: bytes, stored_hash: bytes) -> bool | None:
        known = self._known.get(name)
        if known is None or known[0] != stored_hash or known[2] <= self._monotonic():
            return None
        return known[1]

    def _remember(self, name: bytes, stored_hash: bytes, right: bool) -> None:
        self._known[name] = (stored_hash, right, self._monotonic() + (_RIGHT if right else _WRONG))
        self._known.move_to_end(name)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            users = parse_htpasswd(self._path.read_bytes(), str(self._path))
        except OSError as error:
            raise UsageError(f"auth.htpasswd: {self._path}: {error.strerror}") from None
        # For users that are not there: as slow as the slowest of those that are.
        cost = max((int(secret[4:6]) for secret in users.values()), default=10)
        if self._decoy[4:6] != b"%02d" % cost:
            self._decoy = bcrypt.hashpw(secrets.token_bytes(32), bcrypt.gensalt(cost))
        self._users, self._seen = users, seen
