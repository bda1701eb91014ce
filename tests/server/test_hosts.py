"""A service on loopback answers to its own names, and a page of another site writes nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.policy.load import PolicySet
from custody.server.hosts import Hosts
from custody.server.platform import running
from custody.settings import Settings

Answer = tuple[int, dict[str, str], bytes]


def ask(port: int, method: str, path: str, host: str | None, origin: str | None = None,
        body: bytes | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in (("Host", host), ("Origin", origin)):
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def asking(folder: Path, test: Callable[[int], None], host: str = "127.0.0.1", **settings: Any) -> None:
    async def main() -> None:
        chosen = Settings(data_dir=str(folder / "data"), **settings)
        async with running(chosen, ("registry", "log"), host=host) as found:
            await asyncio.to_thread(test, int(found.url.rpartition(":")[2]))

    asyncio.run(main())


def test_foreign_host_is_served(tmp_path: Path) -> None:
    def test(port: int) -> None:
        for method, path in (("GET", "/v2/_catalog"), ("DELETE", "/v2/private/manifests/sha256:" + "a" * 64)):
            status, _, body = ask(port, method, path, "evil.example", "http://evil.example")
            [error] = json.loads(body)["errors"]
            assert (status, error["code"]) == (421, "DENIED")
            assert error["message"].startswith("Host: got 'evil.example', which is no name of this service")
        status, _, body = ask(port, "POST", "/api/v2/log/entries", f"evil.example:{port}", body=b"{}")
        assert (status, json.loads(body)["message"][:26]) == (421, "Host: got 'evil.example:" + str(port)[:2])
        for own in (f"127.0.0.1:{port}", "localhost", "LOCALHOST:1", "127.8.9.10", f"[::1]:{port}", "localhost."):
            assert ask(port, "GET", "/v2/_catalog", own)[0] == 200, own
        for foreign in ("", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost", "0x7f000001",
                        "10.0.0.1", "[2001:db8::1]:80", "169.254.169.254"):
            assert ask(port, "GET", "/v2/_catalog", foreign)[0] == 421, foreign

    asking(tmp_path, test)


def test_what_no_browser_sends_may_have_any_word_for_a_name(tmp_path: Path) -> None:
    """A browser's request always has User-Agent and Accept-Encoding."""
    def status(port: int, *lines: str) -> int:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall("\r\n".join(("GET /v2/ HTTP/1.1", *lines, "Connection: close", "", "")).encode())
            with connection.makefile("rb") as answer:
                return int(answer.readline().split()[1])

    def test(port: int) -> None:
        assert status(port, "Host: x") == 200
        assert status(port, "Host: evil.example") == 421
        assert status(port, "Host: [2001:db8::1]") == 421
        assert status(port, "Host:") == 421
        for mark in ("User-Agent: Mozilla/5.0", "Accept-Encoding: gzip", "Origin: http://x", "Sec-Fetch-Site: none",
                     "Cookie: a=b", "Referer: http://x/", "Accept-Language: en"):
            assert status(port, "Host: x", mark) == 421, mark

    asking(tmp_path, test)


def test_a_page_of_another_site_writes_nothing(tmp_path: Path) -> None:
    def test(port: int) -> None:
        for origin in ("http://evil.example", "null", "https://localhost.evil.example:5080", "file://", "http://[bad",
                       "http://127.0.0.1@evil.example"):
            status, _, body = ask(port, "POST", "/v2/a/blobs/uploads/", "localhost", origin, b"")
            assert (status, json.loads(body)["errors"][0]["code"]) == (403, "DENIED"), origin
        for origin in (f"http://localhost:{port}", "http://127.0.0.1", None):
            assert ask(port, "POST", "/v2/a/blobs/uploads/", "localhost", origin, b"")[0] == 202, origin
        assert ask(port, "GET", "/v2/", "localhost", "http://evil.example")[0] == 200  # it cannot read the answer

    asking(tmp_path, test)


def test_names_of_the_settings_are_own_names(tmp_path: Path) -> None:
    def test(port: int) -> None:
        for own in ("registry.example", "REGISTRY.example:443", "log.example", "10.1.1.1"):
            assert ask(port, "GET", "/v2/", own)[0] == 200, own
        assert ask(port, "GET", "/v2/", "other.example")[0] == 421

    asking(tmp_path, test, hosts=["registry.example", "10.1.1.1"], urls={"log": "https://log.example/rekor"})


@pytest.mark.parametrize(("hosts", "status"), [([], 200), (["registry.example"], 421)])
def test_an_address_that_others_reach_checks_names_where_some_are_set(hosts: list[str], status: int,
                                                                      tmp_path: Path) -> None:
    def test(port: int) -> None:
        assert ask(port, "GET", "/v2/", "custody.namespace.svc:443")[0] == status
        assert ask(port, "GET", "/v2/", "localhost")[0] == 200

    asking(tmp_path, test, "0.0.0.0", hosts=hosts)


def test_a_host_header_is_asked_of_http_1_1_only(tmp_path: Path) -> None:
    def test(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
        connection.putrequest("GET", "/v2/", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status == 200
        connection.close()

    asking(tmp_path, test)


def test_the_webhook_answers_to_every_name(tmp_path: Path) -> None:
    """Its certificate is what names it: the API server calls services by names that only the cluster knows."""
    import ssl

    def call(port: int, ca: Path) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30,
                                                 context=ssl.create_default_context(cafile=str(ca)))
        try:
            connection.request("GET", "/readyz", headers={"Host": "custody.custody.svc:443"})
            return connection.getresponse().status
        finally:
            connection.close()

    async def main() -> None:
        chosen = Settings(data_dir=str(tmp_path / "data"))
        async with running(chosen, ("admission",), port=None, policies=PolicySet([])) as found:
            assert found.webhook is not None
            port = int(found.webhook.rpartition(":")[2])
            assert await asyncio.to_thread(call, port, tmp_path / "data" / "admission" / "ca.crt") == 200

    asyncio.run(main())


@pytest.mark.parametrize("name", ["", "*", "*.example", "a b", "http://x", "a..b", "-a", "x" * 300, "a/b"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(MalformedError, match="hosts: got"):
        Hosts("127.0.0.1", [name])


@given(st.text(max_size=30) | st.from_regex(r"(localhost|127\.0\.0\.1|\[::1\])[.:@/\\a-z0-9]{0,12}", fullmatch=True))
def test_any_text_is_a_name_or_is_none(host: str) -> None:
    if host in Hosts("127.0.0.1"):
        name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        assert name.lower().removesuffix(".") == "localhost" or name.startswith("127.") or ":" in name
