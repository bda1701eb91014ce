"""Rule files in registries: pushed, signed, pulled; and artifacts that are not what they should be."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats.reference import parse
from custody.registry.client import RegistryClient
from custody.services import falcorules
from custody.settings import Settings
from custody.wiring import registry_client
from tests.cli.commands import custody
from tests.conftest import peer
from tests.runtime.test_rule_analysis import rule
from tests.serving import registry_on

_RULE = rule("Shell", "evt.type = execve and proc.name = bash")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "store").mkdir()
    with registry_on(tmp_path / "store") as (host, _):
        yield host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (work / "falco.yaml").write_text(f'[{{"required_engine_version": "0.40.0"}}, {_RULE}]')
    (work / "more.yaml").write_text(f"[{rule('More', 'evt.type = open')}]")
    return work


def _run(folder: Path, *arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
    done = custody(*arguments, cwd=folder, COSIGN_PASSWORD="x", **environment)
    assert done.returncode == code, done.stderr
    return done.stdout.strip(), done.stderr


def test_pushed_signed_and_pulled(folder: Path, registry: str) -> None:
    ref = f"{registry}/rules/ours:1"
    pinned, _ = _run(folder, "runtime", "rules", "push", ref, "falco.yaml", "more.yaml")
    assert pinned.startswith(f"{registry}/rules/ours:1@sha256:")
    assert _run(folder, "runtime", "rules", "push", ref, "falco.yaml", "more.yaml")[0] == pinned
    got, told = _run(folder, "runtime", "rules", "pull", ref, "-d", "got")
    assert got == pinned
    assert "nobody was asked who signed it" in told
    assert (folder / "got" / "falco.yaml").read_bytes() == (folder / "falco.yaml").read_bytes()
    assert sorted(path.name for path in (folder / "got").iterdir()) == ["falco.yaml", "more.yaml"]

    _run(folder, "generate-key-pair")
    _run(folder, "generate-key-pair", "--output-key-prefix", "other")
    asked = ("runtime", "rules", "pull", ref, "-d", "signed", "--key", "cosign.pub", "--insecure-ignore-tlog")
    assert "no signature found" in _run(folder, *asked, code=4)[1]
    assert not (folder / "signed").exists()
    _run(folder, "sign", "--key", "cosign.key", "--tlog-upload=false", "-y", pinned)
    assert "signed by" in _run(folder, *asked)[1]
    wrong = _run(folder, *asked[:-2], "other.pub", asked[-1], code=4)[1]
    assert "no signature that counts" in wrong
    assert _run(folder, *asked)[0] == pinned  # the same again changes nothing
    (folder / "signed" / "falco.yaml").write_text("mine")
    assert "is there and says something else" in _run(folder, *asked, code=2)[1]
    _run(folder, *asked, "--force")
    assert (folder / "signed" / "falco.yaml").read_bytes() == (folder / "falco.yaml").read_bytes()


def test_cosign_verifies_what_was_signed_and_signs_what_is_pulled(folder: Path, registry: str) -> None:
    cosign = peer("cosign-v3")
    pinned, _ = _run(folder, "runtime", "rules", "push", f"{registry}/rules/ours:1", "falco.yaml")
    _run(folder, "generate-key-pair")
    _run(folder, "sign", "--key", "cosign.key", "--tlog-upload=false", "-y", pinned)
    subprocess.run([cosign, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--allow-http-registry",
                    pinned.replace(":1@", "@")], cwd=folder, check=True, capture_output=True)
    other, _ = _run(folder, "runtime", "rules", "push", f"{registry}/rules/other:1", "more.yaml")
    (folder / "config.json").write_text('{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    subprocess.run([cosign, "sign", "-y", "--key", "cosign.key", "--allow-http-registry", "--signing-config",
                    "config.json", other.replace(":1@", "@")], cwd=folder, check=True, capture_output=True,
                   env={**os.environ, "COSIGN_PASSWORD": "x"})
    told = _run(folder, "runtime", "rules", "pull", other, "-d", "got", "--key", "cosign.pub", "--insecure-ignore-tlog")
    assert told[0] == other
    assert "signed by" in told[1]


def test_a_tag_that_moves_after_it_was_signed(folder: Path, registry: str) -> None:
    """What was signed is a digest: what the tag means then is another artifact, which nobody signed."""
    ref = f"{registry}/rules/ours:1"
    pinned, _ = _run(folder, "runtime", "rules", "push", ref, "falco.yaml")
    _run(folder, "generate-key-pair")
    _run(folder, "sign", "--key", "cosign.key", "--tlog-upload=false", "-y", pinned)
    _run(folder, "runtime", "rules", "push", ref, "more.yaml")
    asked = ("runtime", "rules", "pull", "-d", "got", "--key", "cosign.pub", "--insecure-ignore-tlog")
    assert "no signature found" in _run(folder, *asked, ref, code=4)[1]
    assert not (folder / "got").exists()
    assert _run(folder, *asked, pinned)[0] == pinned


def test_files_that_falco_would_refuse_are_neither_pushed_nor_pulled(folder: Path, registry: str) -> None:
    (folder / "bad.yaml").write_text(f"[{rule('r', 'nothing')}]")
    assert "Undefined macro" in _run(folder, "runtime", "rules", "push", f"{registry}/r:1", "bad.yaml", code=2)[1]
    (folder / "sub").mkdir()
    (folder / "sub" / "falco.yaml").write_text(f"[{rule('r', 'evt.type = open')}]")
    assert "two files have this name" in _run(folder, "runtime", "rules", "push", f"{registry}/r:1", "falco.yaml",
                                              "sub/falco.yaml", code=2)[1]
    _push(registry, {"bad.yaml": b"[{\"rule\": 1}]"})
    assert "bad.yaml" in _run(folder, "runtime", "rules", "pull", f"{registry}/made:1", "-d", "got", code=2)[1]
    assert not (folder / "got").exists()


def test_what_oras_pushes_as_falcoctl_does(folder: Path, registry: str) -> None:
    oras = peer("oras")
    (folder / "config.json").write_text('{"requirements":[{"name":"engine_version_semver","version":"0.31.0"}]}')
    with tarfile.open(folder / "falco.tar.gz", "w:gz") as archive:
        archive.add(folder / "falco.yaml", "falco_rules.yaml")
    subprocess.run([oras, "push", "--plain-http", f"{registry}/oras:1", "--config",
                    f"config.json:{falcorules.CONFIG}", f"falco.tar.gz:{falcorules.LAYER}"], cwd=folder, check=True,
                   capture_output=True)
    _run(folder, "runtime", "rules", "pull", f"oci://{registry}/oras:1", "-d", "got")
    assert (folder / "got" / "falco_rules.yaml").read_bytes() == (folder / "falco.yaml").read_bytes()
    _run(folder, "runtime", "rules", "push", f"{registry}/ours:1", "falco.yaml")
    subprocess.run([oras, "pull", "--plain-http", f"{registry}/ours:1", "-o", "by-oras"], cwd=folder, check=True,
                   capture_output=True)
    with tarfile.open(folder / "by-oras" / "falco.tar.gz") as archive:
        assert archive.getnames() == ["falco.yaml"]


def _archive(*members: tuple[str, bytes, Any]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data, kind in members:
            member = tarfile.TarInfo(name)
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            member.type, member.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


REFUSED: dict[str, Callable[[], bytes]] = {
    "a gzipped archive": lambda: b"x",
    "an archive without files": _archive,
    "climb": lambda: _archive(("../a.yaml", b"[]", tarfile.REGTYPE)),
    "a symlink": lambda: _archive(("a.yaml", b"", tarfile.SYMTYPE)),
    "a link": lambda: _archive(("a.yaml", b"", tarfile.LNKTYPE)),
    "is no rule file": lambda: _archive(("a.so", b"x", tarfile.REGTYPE)),
    "'a.yaml' twice": lambda: _archive(("a.yaml", b"[]", tarfile.REGTYPE), ("./a.yaml", b"[]", tarfile.REGTYPE)),
    "of 4194305 bytes": lambda: _archive(("a.yaml", b" " * (falcorules.LARGEST + 1), tarfile.REGTYPE)),
    "bytes unpacked": lambda: gzip.compress(b"\0" * (65 << 20)),
    "a.yaml": lambda: _archive(("a.yaml", b"[]", tarfile.REGTYPE))[:-30]}


@pytest.mark.parametrize("words", REFUSED)
def test_archives_that_are_refused(words: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError)) as refused:
        falcorules.unpacked(REFUSED[words](), "a.yaml" if words == "a.yaml" else "layer")
    assert words in str(refused.value) or (words == "climb" and ".." in str(refused.value))


@given(st.binary(max_size=400))
def test_any_archive(data: bytes) -> None:
    for packed in (data, gzip.compress(data)):
        try:
            falcorules.unpacked(packed, "layer")
        except CustodyError:
            pass


def _push(registry: str, texts: dict[str, bytes], change: Any = None, name: str = "made") -> str:
    async def push() -> str:
        async with registry_client(Settings()) as client:
            ref = parse(f"{registry}/{name}:1")
            if change is None:
                return str(ref.at((await falcorules.push(client, ref, texts)).digest))
            return await _changed(client, ref, texts, change)

    return asyncio.run(push())


async def _changed(client: RegistryClient, ref: Any, texts: dict[str, bytes], change: Any) -> str:
    _, packed = falcorules.archived(texts)
    layer, config = await client.push_blob(ref, packed), await client.push_blob(ref, b"{}")
    document: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": falcorules.CONFIG, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": falcorules.LAYER, "digest": layer.digest, "size": layer.size}]}
    change(document)
    descriptor = await client.push_manifest(ref, json.dumps(document).encode(), document["mediaType"], tag="1")
    return str(ref.at(descriptor.digest))


@pytest.mark.parametrize(("change", "words"), [
    (lambda document: document["layers"][0].update(mediaType="application/vnd.cncf.falco.plugin.layer.v1+tar.gz"),
     "is a plugin, which custody does not load"),
    (lambda document: document["layers"][0].update(mediaType="application/vnd.oci.image.layer.v1.tar+gzip"),
     "expected rule files: a layer"),
    (lambda document: document["layers"].append(dict(document["layers"][0])), "2 layers"),
    (lambda document: document.update(layers=[]), "no layers")])
def test_artifacts_that_are_refused(registry: str, change: Any, words: str) -> None:
    made = _push(registry, {"a.yaml": b"[]"}, change)

    async def pull() -> None:
        async with registry_client(Settings()) as client:
            await falcorules.pull(client, parse(made))

    with pytest.raises((MalformedError, UnsupportedError)) as refused:
        asyncio.run(pull())
    assert words in str(refused.value)


def test_sources_are_loaded_in_order(folder: Path, registry: str) -> None:
    made = _push(registry, {"a.yaml": f"[{_RULE}]".encode()})

    async def load() -> dict[str, bytes]:
        async with registry_client(Settings()) as client:
            return await falcorules.load([f"oci://{made}", str(folder / "more.yaml")],
                                         lambda ref: falcorules.pull(client, ref))

    texts = asyncio.run(load())
    assert list(texts) == [f"oci://{made}/a.yaml", str(folder / "more.yaml")]
    assert [known.name for known in falcorules.compiled(texts).rules] == ["Shell", "More"]
    with pytest.raises(UsageError, match="rules are not fetched here"):
        asyncio.run(falcorules.load([f"oci://{made}"]))
    (folder / "none").mkdir()
    with pytest.raises(UsageError, match="no rule files"):
        falcorules.files([folder / "none"])
    assert hashlib.sha256(falcorules.archived(texts)[1]).digest() == hashlib.sha256(
        falcorules.archived(dict(texts))[1]).digest()
