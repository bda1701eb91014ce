"""The site of the signing commands, one a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.serving import registry_on
from tests.sign.site import Site
from tests.trust.stack import serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with registry_on(folder / "registry") as (host, _), serving(folder) as stack:
        (folder / "root.json").write_bytes(stack.material.trusted_root(stack.endpoints).to_json())
        (folder / "config.json").write_bytes(stack.material.signing_config(stack.endpoints).to_json())
        (folder / "empty.json").write_text(
            '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
        (folder / "custody.toml").write_text('trusted_root = "root.json"\nsigning_config = "config.json"\n')
        (folder / "keys.toml").write_text('signing_config = "empty.json"\n')
        made = Site(folder, host, stack)
        previous = os.environ.get("COSIGN_PASSWORD")
        os.environ["COSIGN_PASSWORD"] = "hello"
        assert made.custody("generate-key-pair", "--output-key-prefix", str(folder / "cosign")) == 0
        yield made
        if previous is None:
            del os.environ["COSIGN_PASSWORD"]
