"""The real `notation` beside custody, over one directory: what custody signs, notation verifies; keys, plugins and
trust stores of either are the other's. A line is printed for each pair.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.cli.run import run
from custody.errors import CustodyError
from custody.sign.notary.directory import Directory
from tests.conftest import peer
from tests.serving import registry_on
from tests.sign.notary.materials import (
    KINDS,
    authority,
    chain_of,
    directory_in,
    environment,
    install_plugin,
    key_of,
    key_pem,
    layout,
    list_key,
    pem,
    push_image,
    time_authority,
    trust,
)

pytestmark = pytest.mark.peer
FORMS = ("jws", "cose")
PLACES = ("registry", "registry, API alone", "layout")
WAYS: dict[str, tuple[str, ...]] = {
    "plain": (), "expiry and metadata": ("--expiry", "3h20m", "-m", "env=prod", "-m", "é=<&>"),
    "timestamp": ("--timestamp-url", "URL", "--timestamp-root-cert", "ROOT")}


@dataclass
class Desk:
    folder: Path
    directory: Directory
    host: str
    time_url: str

    def notation(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([peer("notation"), *arguments], capture_output=True, text=True, timeout=60, check=False,
                              env=environment(self.directory), cwd=self.folder)

    def verified(self, *arguments: str) -> str:
        done = self.notation("verify", *arguments)
        assert done.returncode == 0, done.stderr
        assert "Successfully verified signature for" in done.stdout
        return done.stdout

    def image(self, place: str, name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """A new artifact; its reference, and the options with which custody and notation take it."""
        if place == "layout":
            path = self.folder / re.sub(r"\W", "-", name)
            return f"{path}@{layout(path)}", ("--oci-layout",), ("--oci-layout", "--scope", "any/where")
        ref = asyncio.run(push_image(self.host, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")))
        how = ("--force-referrers-tag=false",) if place == "registry, API alone" else ()
        return ref, how, ("--insecure-registry",)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    peer("notation")
    folder = tmp_path_factory.mktemp("desk")
    directory = directory_in(folder / "notation")
    for kind in KINDS:
        list_key(directory, kind, key_of(kind), chain_of(kind), default=kind == "EC-256")
    trust(directory, "ca", "acme", authority()[0][-1])
    with registry_on(folder / "registry") as (host, _), time_authority() as (url, root):
        trust(directory, "tsa", "clock", root)
        (folder / "tsa.pem").write_bytes(pem(root))
        policy(directory)
        yield Desk(folder, directory, host, url)


def policy(directory: Directory, **changes: object) -> None:
    statement = {"name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
                 "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"], **changes}
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [statement]}))


@pytest.fixture
def custody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name, value in environment(desk.directory).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)
    policy(desk.directory)
    yield desk
    policy(desk.directory)


def signing(desk: Desk, *arguments: str) -> int:
    filled = [{"URL": desk.time_url, "ROOT": str(desk.folder / "tsa.pem")}.get(word, word) for word in arguments]
    return run(["notation", "sign", *filled])


def tell(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\ninterop: {line}", end="")


@pytest.mark.parametrize(("kind", "form", "place"), [
    (kind, form, place) for kind in KINDS for form in FORMS for place in PLACES
    if kind == "EC-256" or place != "registry, API alone"])
def test_custody_signs_and_notation_verifies(custody: Desk, kind: str, form: str, place: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    for way, options in WAYS.items():
        ref, how, taken = custody.image(place, f"{kind} {form} {place} {way}")
        assert signing(custody, *how, "-k", kind, "--signature-format", form, *options, ref) == 0
        said = capsys.readouterr().out
        assert said == f"Successfully signed {ref}\n"
        if way == "timestamp":
            policy(custody.directory, trustStores=["ca:acme", "tsa:clock"],
                   signatureVerification={"level": "strict", "verifyTimestamp": "always"})
        metadata = ("-m", "env=prod", "-m", "é=<&>") if way == "expiry and metadata" else ()
        custody.verified(*taken, *metadata, ref)
        policy(custody.directory)
        tell(capsys, f"custody signs, notation verifies: {kind} {form} {way}, {place}")


def test_what_custody_did_not_sign_is_not_verified(custody: Desk) -> None:
    ref, how, taken = custody.image("registry", "not stamped")
    assert signing(custody, *how, ref) == 0
    policy(custody.directory, trustStores=["ca:acme", "tsa:clock"],
           signatureVerification={"level": "strict", "verifyTimestamp": "always"})
    assert custody.notation("verify", *taken, ref).returncode != 0
    policy(custody.directory)
    assert custody.notation("verify", *taken, "-m", "env=prod", ref).returncode != 0
    policy(custody.directory, trustedIdentities=["x509.subject: C=US, ST=WA, O=others"])
    assert custody.notation("verify", *taken, ref).returncode != 0


def test_notation_lists_and_inspects_what_custody_signed(custody: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    ref, how, taken = custody.image("registry", "listed")
    for form in FORMS:
        assert signing(custody, *how, "--signature-format", form, "-m", "env=prod", "-e", "1h", ref) == 0
    listed = custody.notation("list", *taken, ref)
    assert (listed.returncode, listed.stdout.count("sha256:")) == (0, 3)
    inspected = json.loads(custody.notation("inspect", *taken, "-o", "json", ref).stdout)
    by_type = {entry["mediaType"]: entry for entry in inspected["Signatures"]}
    assert set(by_type) == {"application/jose+json", "application/cose"}
    for entry in by_type.values():
        assert entry["signatureAlgorithm"] == "ECDSA-SHA-256"
        assert entry["unsignedAttributes"]["signingAgent"].startswith("custody/")
        assert entry["userDefinedAttributes"] == {"env": "prod"}
        assert {"signingScheme", "signingTime", "expiry"} == set(entry["signedAttributes"])
    tell(capsys, "custody signs, notation lists and inspects: jws and cose")


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_is_notations_own(custody: Desk, form: str) -> None:
    """All that is in it, but for the signature and its time, and the layout's list of it."""
    folder = custody.folder / f"same-{form}"
    ref = f"{folder}@{layout(folder)}"
    assert signing(custody, "--oci-layout", "--signature-format", form, "-k", "RSA-2048", ref) == 0
    done = custody.notation("sign", "--oci-layout", "--signature-format", form, "-k", "RSA-2048", ref)
    assert done.returncode == 0, done.stderr
    image, *entries = json.loads((folder / "index.json").read_text())["manifests"]
    assert image["digest"] == ref.partition("@")[2]
    ours, theirs = ((folder / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")).read_text()
                    for entry in entries)
    assert re.sub(*_SIGNED, ours) == re.sub(*_SIGNED, theirs)
    assert list(entries[0]) == list(entries[1])
    envelopes = [(folder / "blobs" / "sha256" / json.loads(manifest)["layers"][0]["digest"][7:]).read_bytes()
                 for manifest in (ours, theirs)]
    if form == "cose":  # and of the protected header every byte but the time
        envelopes.sort(key=lambda data: b"notation-go/" in data)  # notation lists them in any order
        assert len(envelopes[0].partition(b"custody/")[0]) == len(envelopes[1].partition(b"notation-go/")[0])
        assert envelopes[0][:118] == envelopes[1][:118]


_SIGNED = (r'"digest":"sha256:[0-9a-f]{64}","size":\d{3,5}\}\]|"[0-9:TZ-]{20}"', "…")


def test_keys_and_stores_are_shared(custody: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["notation", "certificate", "generate-test", "--default", "ours"]) == 0
    theirs = custody.notation("certificate", "generate-test", "--default", "theirs")
    assert theirs.returncode == 0, theirs.stderr
    policy(custody.directory, trustStores=["ca:ours", "ca:theirs"], trustedIdentities=["*"])
    for name in ("ours", "theirs"):
        ref, how, taken = custody.image("registry", f"shared {name}")
        assert signing(custody, *how, "--key", name, ref) == 0
        custody.verified(*taken, ref)
        ref, _, taken = custody.image("registry", f"shared back {name}")
        done = custody.notation("sign", *taken, "--key", name, ref)
        assert done.returncode == 0, done.stderr
        custody.verified(*taken, ref)
    capsys.readouterr()
    assert run(["notation", "key", "ls"]) == 0
    assert capsys.readouterr().out == custody.notation("key", "ls").stdout
    assert custody.notation("key", "delete", "ours").returncode == 0
    assert run(["notation", "key", "delete", "theirs"]) == 0
    assert run(["notation", "key", "update", "--default", "EC-256"]) == 0
    assert run(["notation", "key", "list"]) == 0
    assert custody.notation("key", "ls").stdout in capsys.readouterr().out
    tell(capsys, "keys and trust stores: made by either, used by both")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_run_by_both(custody: Desk, kind: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(custody.directory)
    identifier = custody.folder / f"{kind}-{form}.pem"
    identifier.write_bytes(key_pem(key_of(kind)) + pem(*chain_of(kind)))
    options = ("--plugin", "try", "--id", str(identifier), "--signature-format", form, "--expiry", "2h")
    ref, how, taken = custody.image("registry", f"plugin {kind} {form}")
    assert signing(custody, *how, *options, ref) == 0
    custody.verified(*taken, ref)
    done = custody.notation("sign", *options, *taken, ref)
    assert done.returncode == 0, done.stderr
    if form == "jws":
        ref, how, taken = custody.image("registry", f"plugin envelope {kind}")
        options = (*options, "--plugin-config", "capabilities=SIGNATURE_GENERATOR.ENVELOPE")
        assert signing(custody, *how, *options, ref) == 0
        custody.verified(*taken, ref)
        done = custody.notation("sign", *options, *taken, ref)
        assert done.returncode == 0, done.stderr
    tell(capsys, f"custody signs by a plugin, notation verifies: {kind} {form}")


@pytest.mark.parametrize("lie", ["described-key", "spec", "key", "signature", "order", "name", "contract", "garbage",
                                 "silent", "refuses ACCESS_DENIED"])
def test_a_plugin_that_lies_to_both(custody: Desk, lie: str, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(custody.directory)
    identifier = custody.folder / "lying.pem"
    identifier.write_bytes(key_pem(key_of("EC-256")) + pem(*chain_of("EC-256")))
    options = ("--plugin", "try", "--id", str(identifier), "--plugin-config", f"lie={lie}")
    ref, how, taken = custody.image("registry", f"lies {lie}")
    assert custody.notation("sign", *options, *taken, ref).returncode != 0
    assert signing(custody, *how, *options, ref) != 0
    capsys.readouterr()
    assert custody.notation("list", *taken, ref).stdout.count("sha256:") == 1


def test_a_chain_that_neither_takes(custody: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.sign.notary.test_signing import chains

    told = 0
    for name, (chain, _) in chains().items():
        list_key(custody.directory, f"bad {name}", key_of("EC-256"), chain)
        ref, how, taken = custody.image("layout", f"bad {name}")
        assert custody.notation("sign", *taken[:1], "-k", f"bad {name}", ref).returncode != 0, name
        assert signing(custody, *how, "-k", f"bad {name}", ref) != 0, name
        told += 1
    assert told == 13
    assert "error: " in capsys.readouterr().err


def test_plugins_are_installed_by_either(custody: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = install_plugin(directory_in(tmp_path / "made"), "both")
    assert run(["notation", "plugin", "install", "--file", str(source)]) == 0
    assert "Successfully installed plugin both, version 1.2.3" in capsys.readouterr().out
    again = custody.notation("plugin", "install", "--file", str(source))
    assert (again.returncode, "already exists" in again.stderr) == (1, True)
    assert run(["notation", "plugin", "ls"]) == 0
    assert capsys.readouterr().out == custody.notation("plugin", "ls").stdout
    assert custody.notation("plugin", "uninstall", "-y", "both").returncode == 0
    assert custody.notation("plugin", "install", "--file", str(source)).returncode == 0
    assert run(["notation", "plugin", "install", "--file", str(source)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert run(["notation", "plugin", "remove", "-y", "both"]) == 0
    tell(capsys, "plugins: installed, listed and uninstalled by either")


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[str]:
    """The reference registry, which has no referrers API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "distribution.yaml").write_text(
        f'version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/blobs}}}}\nhttp: {{addr: "{place}"}}\n')
    with (tmp_path / "distribution.log").open("wb") as log:
        process = subprocess.Popen([peer("registry"), "serve", str(tmp_path / "distribution.yaml")], stdout=log,
                                   stderr=log)
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", int(place.partition(":")[2])), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield place
        finally:
            process.terminate()
            process.wait()


def test_a_registry_without_referrers(custody: Desk, distribution: str, capsys: pytest.CaptureFixture[str]) -> None:
    for at, flag in enumerate(("--force-referrers-tag", "--force-referrers-tag=false")):
        ref = asyncio.run(push_image(distribution, f"app{at}"))
        for form in FORMS:
            assert signing(custody, flag, "--signature-format", form, ref) == 0
        done = custody.notation("sign", "--insecure-registry", ref)
        assert done.returncode == 0, done.stderr
        assert custody.notation("list", "--insecure-registry", ref).stdout.count("sha256:") == 4
        custody.verified("--insecure-registry", ref)
        tell(capsys, f"custody signs, notation verifies: distribution without referrers API, {flag}")


def test_a_reference_that_is_no_image(custody: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CustodyError):
        custody.image("registry", "")
    for ref, reason in (("registry.example.com/app", "got no tag and no digest"),
                        (f"{custody.host}/app@sha256:{'0' * 64}", "404")):
        assert signing(custody, ref) != 0
        assert reason in capsys.readouterr().err
