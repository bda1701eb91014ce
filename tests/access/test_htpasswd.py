"""Passwords: bcrypt only, guesses bounded, a changed file counts at once."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import AuthenticationError, CustodyError, MalformedError, UsageError
from custody.server.access import htpasswd as module
from custody.server.access.callers import Callers
from custody.server.access.htpasswd import BusyError, PasswordFile, parse_htpasswd
from tests.access.site import htpasswd

HASH = bcrypt.hashpw(b"secret", b"$2b$04$" + b"." * 22).decode()


@pytest.mark.parametrize(("text", "reason"), [
    ("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "h:1: got 'ann with a hash that is not bcrypt', expected \\$2y\\$"),
    ("ann:$apr1$abc$def", "h:1: got .*a hash that is not bcrypt"),
    ("ann:secret", "h:1: got .*a hash that is not bcrypt"),
    (f"ann:{HASH}x", "h:1: got .*a hash that is not bcrypt"),
    (f"\n# users\nann:{HASH}\nann:{HASH}", "h:4: got 'ann once more'"),
    (f"ann:{HASH.replace('$04$', '$17$')}", "h:1: got 'ann with bcrypt cost 17', expected 4 to 14"),
    (f"ann:{HASH.replace('$04$', '$03$')}", "h:1: got 'ann with bcrypt cost 3'"),
    (f":{HASH}", "h:1: got 'no user and hash'"),
    ("ann", "h:1: got 'no user and hash'"),
    (f"a\x07n:{HASH}", "h:1: got 'no user and hash'"),
    ("x" * (1 << 20) + "y", "h: got '1048577 bytes'"),
])
def test_files_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason) as caught:
        parse_htpasswd(text.encode(), "h")
    for part in text.split(":")[1:]:
        assert part[:20] not in caught.value.message  # no hash, and no password that was forgotten in the clear


@given(st.binary(max_size=300))
def test_bytes_are_users_or_an_error(data: bytes) -> None:
    try:
        parse_htpasswd(data + b"\n", "h")
    except CustodyError as error:
        assert error.message.startswith("h")  # noqa: PT017


def with_file(path: Path, use: Callable[[PasswordFile], Awaitable[None]], **users: str) -> None:
    path.write_text(htpasswd(**users))

    async def main() -> None:
        passwords = PasswordFile(path, rest=lambda _: None)
        try:
            await use(passwords)
        finally:
            passwords.close()

    asyncio.run(main())


async def refused(passwords: PasswordFile, user: str, password: str) -> None:
    with pytest.raises(AuthenticationError, match="the user or the password is wrong"):
        await passwords.verify(user, password, "a")


def test_who_is_let_in(tmp_path: Path) -> None:
    async def use(passwords: PasswordFile) -> None:
        for _ in range(2):  # the second time from memory
            await passwords.verify("ann", "secret", "a")
            await passwords.verify("bob", "pässwörd", "a")
            await refused(passwords, "ann", "Secret")
            await refused(passwords, "ann", "")
            await refused(passwords, "bob", "secret")
            await refused(passwords, "eve", "secret")
            await refused(passwords, "", "secret")
            await refused(passwords, "ann", "secret\0x")
            await passwords.verify("long", "x" * 72, "a")
            await refused(passwords, "long", "x" * 73)  # bcrypt alone would not see the difference

    with_file(tmp_path / "h", use, ann="secret", bob="pässwörd", long="x" * 72)


def test_nobody_is_in_by_the_decoy_of_unknown_users(tmp_path: Path) -> None:
    async def use(passwords: PasswordFile) -> None:
        passwords._decoy = bcrypt.hashpw(b"guessed", bcrypt.gensalt(4))
        await refused(passwords, "eve", "guessed")

    with_file(tmp_path / "h", use, ann="secret")


def test_unknown_users_are_as_slow_as_the_slowest(tmp_path: Path) -> None:
    async def use(passwords: PasswordFile) -> None:
        assert passwords._decoy[4:6] == b"05"

    (tmp_path / "h").write_text("")
    path = tmp_path / "h"

    async def main() -> None:
        path.write_text(htpasswd(ann="x") + f"bob:{bcrypt.hashpw(b'y', bcrypt.gensalt(5)).decode()}\n")
        await use(PasswordFile(path))

    asyncio.run(main())


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "h"

    async def use(passwords: PasswordFile) -> None:
        await passwords.verify("ann", "secret", "a")
        path.write_text(htpasswd(ann="another", bob="b"))
        await refused(passwords, "ann", "secret")  # what was remembered is about the hash that is gone
        await passwords.verify("ann", "another", "a")
        path.write_text(htpasswd(bob="bee"))
        await refused(passwords, "ann", "another")
        path.write_text("broken")
        with pytest.raises(MalformedError, match="h:1"):
            await passwords.verify("bob", "bee", "a")
        path.unlink()
        with pytest.raises(UsageError, match=r"auth\.htpasswd: .*No such file"):
            await passwords.verify("bob", "bee", "a")

    with_file(path, use, ann="secret")


def test_what_is_found_out_is_remembered_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []
    check, now = bcrypt.checkpw, [0.0]
    monkeypatch.setattr(module.bcrypt, "checkpw", lambda secret, wanted: hashed.append(secret) or check(secret, wanted))
    (tmp_path / "h").write_text(htpasswd(ann="secret"))

    async def main() -> None:
        passwords = PasswordFile(tmp_path / "h", monotonic=lambda: now[0], rest=lambda _: None)
        await asyncio.gather(*(passwords.verify("ann", "secret", "a") for _ in range(50)))
        assert len(hashed) == 1  # one for all that came together
        await refused(passwords, "ann", "wrong")
        await refused(passwords, "ann", "wrong")
        assert len(hashed) == 2
        now[0] = 61.0
        await refused(passwords, "ann", "wrong")
        await passwords.verify("ann", "secret", "a")
        assert len(hashed) == 3
        now[0] = 301.0
        await passwords.verify("ann", "secret", "a")
        assert len(hashed) == 4
        assert not any(b"secret" in name for name in passwords._known)
        passwords.close()

    asyncio.run(main())


def test_a_flood_of_guesses_is_turned_away_before_it_is_hashed(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 at once: of one address four are hashed, and another address still gets its turn; nobody's loop waits."""
    go, hashed = threading.Event(), list[bytes]()

    def slow(secret: bytes, wanted: bytes) -> bool:
        hashed.append(secret)
        go.wait(60)
        return secret == b"secret"

    async def use(passwords: PasswordFile) -> None:
        await passwords.verify("bob", "known", "b")  # before the flood
        monkeypatch.setattr(module.bcrypt, "checkpw", slow)
        flood = [asyncio.create_task(passwords.verify("ann", f"guess{number}", "evil")) for number in range(1_000)]
        busy, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        other = asyncio.create_task(passwords.verify("ann", "secret", "good"))
        await passwords.verify("bob", "known", "b")  # from memory, without a turn
        go.set()
        await other
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        assert busy
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes) == 996
        assert sum(isinstance(outcome, AuthenticationError) for outcome in outcomes) == 4
        assert len(hashed) == 5
        assert not passwords._waiting
        assert not passwords._pending

    with_file(tmp_path / "h", use, ann="x", bob="known")


def test_a_network_of_ipv6_addresses_is_one() -> None:
    """Of a /64 a guesser has 2^64 addresses."""
    asked: list[str] = []

    class Passwords:
        async def verify(self, user: str, password: str, address: str) -> None:
            asked.append(address)

    async def main() -> None:
        callers = Callers(Passwords(), None)  # type: ignore[arg-type]
        for client in (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:2", 1, 0, 0), ("::ffff:192.0.2.1", 1, 0, 0), None):
            await callers.caller({"headers": [(b"authorization", b"Basic " + b64encode(b"ann:x"))], "client": client})

    asyncio.run(main())
    assert asked == ["2001:0db8:0000:0000", "2001:0db8:0000:0000", "192.0.2.1", ""]


def test_many_addresses_share_sixteen_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(module.bcrypt, "checkpw", lambda *_: go.wait(60) and False)

    async def use(passwords: PasswordFile) -> None:
        flood = [asyncio.create_task(passwords.verify("ann", f"{number}", f"address{number}")) for number in range(100)]
        left = set(flood)
        while len(left) > 16:  # those wait for `go`
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes) == 84

    with_file(tmp_path / "h", use, ann="x")


def test_wrong_guesses_are_followed_by_a_rest(tmp_path: Path) -> None:
    rests, now = list[float](), [0.0]

    def clock() -> float:
        now[0] += 0.25
        return now[0]

    (tmp_path / "h").write_text(htpasswd(ann="secret"))

    async def main() -> None:
        passwords = PasswordFile(tmp_path / "h", monotonic=clock, rest=rests.append)
        await passwords.verify("ann", "secret", "a")
        assert rests == []
        await refused(passwords, "ann", "wrong")
        assert rests == [0.25]  # as long as the guess took
        passwords.close()

    asyncio.run(main())
