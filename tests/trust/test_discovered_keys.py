"""Anybody can name a key that an issuer does not have: those who name one that it has notice nothing of it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from custody.adapters.http import jwks
from custody.adapters.http.jwks import DiscoveredKeys
from custody.errors import NetworkError
from tests.access.site import ISSUER, Issuer


def test_a_refresh_that_fails_or_hangs_takes_the_keys_from_nobody(tmp_path_factory: pytest.TempPathFactory,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(jwks, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    asked: list[str] = []
    document = Issuer(tmp_path_factory.mktemp("issuer"))._issuer().jwks()
    gate = asyncio.Event()
    down = False

    async def get(url: str) -> bytes:
        asked.append(url)
        if down:
            await gate.wait()
            raise NetworkError(f"{url}: refused")
        return document if url.endswith("/keys") else json.dumps(
            {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}).encode()

    async def main() -> None:
        nonlocal down
        source = DiscoveredKeys(None, ISSUER)  # type: ignore[arg-type]
        monkeypatch.setattr(source, "_get", get)
        known = await source.keys(refresh=False)
        assert len(known) == 1
        down, clock[0] = True, 1011.0
        unknown = asyncio.create_task(source.keys(refresh=True))  # for a token with a made-up kid
        await asyncio.sleep(0)
        assert await source.keys(refresh=False) == known  # while the issuer does not answer
        gate.set()
        assert await unknown == known  # which has not the made-up one
        assert await source.keys(refresh=True) == known
        assert len(asked) == 3  # and the issuer is not asked again so soon
        clock[0] = 1301.0  # its keys count no longer than before
        with pytest.raises(NetworkError, match="refused"):
            await source.keys(refresh=False)
        with pytest.raises(NetworkError, match="gave no keys a moment ago"):
            await source.keys(refresh=False)

    asyncio.run(main())
