"""The commands over files against real trust services: what they write, what they read, and what they refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.trust.roots import SigningConfig
from tests.serving import served
from tests.sign.authority import World, new_key
from tests.sign.rekor1 import Rekor1
from tests.sign.site import PERSON, Site

BLOB = b"what is signed\n"
Said = pytest.CaptureFixture[str]


@pytest.fixture
def place(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, from a folder with a file to sign in it."""
    monkeypatch.chdir(tmp_path)
    Path("blob").write_bytes(BLOB)
    return site


def sign(place: Site, *more: str, key: str | None = None) -> None:
    who = ("--key", key) if key else ("--identity-token", place.token())
    assert place.custody("sign-blob", *who, "--bundle", "b.json", *more, "blob") == 0


def key(place: Site, name: str = "cosign.key") -> str:
    return str(place.folder / name)


def test_keyless(place: Site, capsys: Said) -> None:
    sign(place, "--output-signature", "blob.sig", "--output-certificate", "blob.crt")
    assert "Wrote bundle to file b.json" in capsys.readouterr().err
    document: dict[str, Any] = json.loads(Path("b.json").read_bytes())
    assert document["mediaType"] == bundles.MEDIA_TYPE
    assert document["messageSignature"]["messageDigest"]["algorithm"] == "SHA2_256"
    assert Path("blob.sig").read_text() == document["messageSignature"]["signature"]
    assert base64.b64decode(Path("blob.crt").read_bytes()).startswith(b"-----BEGIN CERTIFICATE-----")
    for name in ("blob", "sha256:" + hashlib.sha256(BLOB).hexdigest()):
        assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "--use-signed-timestamps", name) == 0
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "Verified OK\n")
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "--certificate", "blob.crt", "blob") == 0
    assert place.custody("verify-blob", *place.who("evil@example.com"), "--bundle", "b.json", "blob") == 4
    assert f"identity: got '{PERSON}', expected 'evil@example.com'" in capsys.readouterr().err
    Path("other").write_bytes(b"x")
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "other") == 4
    assert "signature: the signature is not this key's over these bytes" in capsys.readouterr().err
    assert place.custody("verify-blob", "--bundle", "b.json", "blob") == 2
    assert "identity: not given" in capsys.readouterr().err
    sign(place)  # another certificate
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "--certificate", "blob.crt", "blob") == 4
    assert "--certificate is not the one in the bundle" in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ["ecdsa-sha2-384-nistp384", "ecdsa-sha2-512-nistp521",
                                       "rsa-sign-pkcs1-2048-sha256"])
def test_keyless_by_other_algorithms(place: Site, algorithm: str) -> None:
    sign(place, "--signing-algorithm", algorithm)
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "blob") == 0


def test_algorithms_that_are_refused(place: Site, capsys: Said) -> None:
    line = ("sign-blob", "--identity-token", place.token(), "--bundle", "b.json", "blob", "--signing-algorithm")
    assert place.custody(*line, "ed25519") == 2
    assert "--signing-algorithm: 'ed25519'; custody signs with ecdsa-sha2-256-nistp256, " in capsys.readouterr().err
    line = ("sign-blob", "--key", key(place), "--bundle", "b.json", "blob", "--signing-algorithm")
    assert place.custody(*line, "ecdsa-sha2-384-nistp384") == 2
    assert "the key signs with ecdsa-sha2-256-nistp256" in capsys.readouterr().err
    assert not Path("b.json").exists()
    assert place.custody(*line, "ecdsa-sha2-256-nistp256") == 0


def test_key(place: Site, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    sign(place, key=key(place))
    assert place.custody("verify-blob", "--key", key(place, "cosign.pub"), "--bundle", "b.json", "blob") == 0
    assert place.custody("generate-key-pair", "--output-key-prefix", "other") == 0
    capsys.readouterr()
    assert place.custody("verify-blob", "--key", "other.pub", "--bundle", "b.json", "blob") == 4
    assert "signature: the signature is not this key's" in capsys.readouterr().err
    sign(place, "--signing-config", str(place.folder / "empty.json"), key=key(place))
    line = ("verify-blob", "--key", key(place, "cosign.pub"), "--bundle", "b.json", "blob")
    capsys.readouterr()
    assert place.custody(*line) == 4
    assert "log entry: there is none" in capsys.readouterr().err
    assert place.custody(*line, "--insecure-ignore-tlog") == 0
    assert place.custody(*line, "--insecure-ignore-tlog", "--use-signed-timestamps") == 4
    assert "timestamp: there is none" in capsys.readouterr().err
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    assert place.custody("sign-blob", "--key", key(place), "--bundle", "c.json", "blob") == 2
    assert "wrong password, or a damaged file" in capsys.readouterr().err
    assert place.custody("public-key", "--key", key(place)) == 2
    assert not Path("c.json").exists()


def test_public_key(place: Site, capsys: Said) -> None:
    assert place.custody("public-key", "--key", key(place)) == 0
    assert capsys.readouterr().out == Path(key(place, "cosign.pub")).read_text()
    assert place.custody("public-key", "--key", key(place), "--outfile", "out.pub") == 0
    assert Path("out.pub").read_bytes() == Path(key(place, "cosign.pub")).read_bytes()
    assert "Public key written to out.pub" in capsys.readouterr().err


def test_standard_input(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Given(io.TextIOWrapper):
        pass

    for line in (("sign-blob", "--key", key(place), "--bundle", "b.json", "-"),
                 ("verify-blob", "--key", key(place, "cosign.pub"), "--bundle", "b.json", "-")):
        monkeypatch.setattr("sys.stdin", Given(io.BytesIO(BLOB)))
        assert place.custody(*line) == 0
    assert place.custody("verify-blob", "--key", key(place, "cosign.pub"), "--bundle", "b.json", "blob") == 0


def test_nothing_is_signed_where_it_would_be_kept_nowhere(place: Site, capsys: Said) -> None:
    assert place.custody("sign-blob", "--key", key(place), "blob") == 2
    assert "hint: --bundle FILE, or --new-bundle-format=false, which prints the signature" in capsys.readouterr().err
    assert place.custody("sign-blob", "--key", key(place), "--bundle", "no/b.json", "blob") == 2
    assert "--bundle no/b.json: " in capsys.readouterr().err
    assert place.custody("sign-blob", "--key", key(place), "--bundle", "b.json", "nope") == 2
    assert "file nope: No such file" in capsys.readouterr().err
    assert place.custody("sign-blob", "--key", key(place), "--bundle", "b.json", "--output-certificate", "c", "blob"
                         ) == 2
    assert "a key signs, and there is no certificate" in capsys.readouterr().err


def test_without_a_bundle(place: Site, capsys: Said) -> None:
    """The signature on standard output, as cosign 2 has it, and verified by itself."""
    line = ("sign-blob", "--key", key(place), "--signing-config", str(place.folder / "empty.json"),
            "--new-bundle-format=false", "blob")
    capsys.readouterr()
    assert place.custody(*line) == 0
    signature = capsys.readouterr().out
    public = ("--key", key(place, "cosign.pub"), "--insecure-ignore-tlog")
    Path("blob.sig").write_text(signature)
    for given in (signature.strip(), "blob.sig"):
        assert place.custody("verify-blob", *public, "--signature", given, "blob") == 0
    assert place.custody(*line, "--b64=false", "--output", "raw.sig") == 0
    assert Path("raw.sig").read_bytes()[:1] == b"\x30"
    assert place.custody("verify-blob", *public, "--signature", "raw.sig", "blob") == 0
    capsys.readouterr()
    assert place.custody("verify-blob", *public, "--signature", "no file and no base64", "blob") == 2
    assert "--signature: got 'no file and no base64', expected base64" in capsys.readouterr().err
    Path("blob.sig").write_text("")
    assert place.custody("verify-blob", *public, "--signature", "blob.sig", "blob") == 2
    assert "signature: got 'nothing', expected a signature" in capsys.readouterr().err
    assert place.custody("verify-blob", *public, "blob") == 2
    assert "--bundle: not given, and no --signature" in capsys.readouterr().err


def test_older_bundle_with_an_entry_of_rekor_1(place: Site, capsys: Said) -> None:
    from custody.trust.roots import Service, Validity, parse_signing_config, parse_trusted_root

    log = Rekor1()
    with served(log.app()) as url:
        import msgspec

        root = parse_trusted_root((place.folder / "root.json").read_bytes())
        config = parse_signing_config((place.folder / "config.json").read_bytes())
        always = Validity(root.certificate_authorities[0].valid.start)
        Path("root.json").write_bytes(msgspec.structs.replace(root, tlogs=(log.trusted(url, always),)).to_json())
        Path("config.json").write_bytes(msgspec.structs.replace(
            config, rekor=(Service(url, 1, always, "test"),), tsa=()).to_json())
        where = ("--trusted-root", "root.json", "--signing-config", "config.json")
        sign(place, *where, "--new-bundle-format=false")
        document = json.loads(Path("b.json").read_bytes())
        assert set(document) == {"base64Signature", "cert", "rekorBundle"}
        line = ("verify-blob", *place.who(), "--trusted-root", "root.json", "--bundle")
        assert place.custody(*line, "b.json", "blob") == 0
        assert place.custody(*line, "b.json", "--new-bundle-format=true", "blob") == 2
        assert "is no Sigstore bundle, and --new-bundle-format=true" in capsys.readouterr().err
        # A bundle of it, with the proof that the log is asked for.
        assert place.custody("--config", os.devnull, "bundle", "create", "--artifact", "blob", "--bundle", "b.json",
                             "--rekor-url", url, "--out", "new.json") == 0
        made = json.loads(Path("new.json").read_bytes())
        assert made["mediaType"] == bundles.MEDIA_TYPE
        assert made["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"]
        assert place.custody(*line, "new.json", "blob") == 0
        # The same of 0.1, by the URL that the trusted root has for the log.
        entry = made["verificationMaterial"]["tlogEntries"][0]
        del entry["inclusionProof"]
        made["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
        made["verificationMaterial"]["x509CertificateChain"] = {
            "certificates": [made["verificationMaterial"].pop("certificate")]}
        Path("first.json").write_text(json.dumps(made))
        Path("custody.toml").write_text('trusted_root = "root.json"\n')
        assert place.custody("--config", "custody.toml", "bundle", "upgrade", "first.json", "--out", "up.json") == 0
        upgraded = json.loads(Path("up.json").read_bytes())
        assert upgraded["mediaType"] == bundles.MEDIA_TYPE
        assert list(upgraded["verificationMaterial"]) == ["certificate", "tlogEntries"]
        assert place.custody(*line, "up.json", "blob") == 0
        # A log that answers with another entry than the bundle's.
        Path("blob").write_bytes(b"another")
        sign(place, *where, "--new-bundle-format=false")
        log.wrong = 0
        capsys.readouterr()
        assert place.custody("bundle", "create", "--artifact", "blob", "--bundle", "b.json", "--rekor-url", url) == 2
        assert "got 'another entry at index 1', expected the one in the bundle" in capsys.readouterr().err


def test_older_bundle_holds_no_entry_of_rekor_2(place: Site, capsys: Said) -> None:
    line = ("sign-blob", "--key", key(place), "--new-bundle-format=false", "--bundle", "b.json", "blob")
    assert place.custody(*line, "--tlog-upload=true") == 2
    assert "cosign's older bundle cannot hold an entry of a log of API version 2" in capsys.readouterr().err
    assert place.custody(*line, "--rfc3161-timestamp", "stamp.json") == 0
    assert "is in no log" in capsys.readouterr().err
    public = ("--key", key(place, "cosign.pub"), "--insecure-ignore-tlog", "--bundle", "b.json", "blob")
    assert place.custody("verify-blob", *public, "--use-signed-timestamps") == 4
    stamped = (*public, "--rfc3161-timestamp", "stamp.json", "--use-signed-timestamps")
    assert place.custody("verify-blob", *stamped) == 0
    Path("blob").write_bytes(b"x")
    assert place.custody(*line, "--rfc3161-timestamp", "other.json") == 0
    Path("stamp.json").write_bytes(Path("stamp.json").read_bytes())
    capsys.readouterr()
    assert place.custody("verify-blob", *stamped) == 4
    assert "timestamp: " in capsys.readouterr().err


def test_attest(place: Site, capsys: Said) -> None:
    Path("sbom.json").write_text('{"bomFormat":"CycloneDX","version":1}')
    line = ("attest-blob", "--identity-token", place.token(), "--predicate", "sbom.json", "--type", "cyclonedx",
            "--bundle", "a.json", "--output-attestation", "statement.json")
    assert place.custody(*line, "blob") == 0
    statement = json.loads(Path("statement.json").read_bytes())
    digest = hashlib.sha256(BLOB).hexdigest()
    assert statement["subject"] == [{"name": "blob", "digest": {"sha256": digest}}]
    verify = ("verify-blob-attestation", *place.who(), "--bundle", "a.json")
    typed = (*verify, "--type", "cyclonedx")
    capsys.readouterr()
    assert place.custody(*typed, "blob") == 0
    assert capsys.readouterr().err == "Verified OK\n"
    assert place.custody(*typed, "--digest", digest, "--digestAlg", "sha256") == 0
    assert place.custody(*typed, "--check-claims=false") == 0
    Path("other").write_bytes(b"x")
    assert place.custody(*typed, "other") == 4
    assert f"subject: the statement is about sha256:{digest}, expected sha256:" in capsys.readouterr().err
    assert place.custody(*verify, "blob") == 4
    assert "predicate type: got https://cyclonedx.org/bom, expected https://cosign.sig" in capsys.readouterr().err
    assert place.custody(*typed) == 2
    assert "FILE: not given, and not both of --digest and --digestAlg" in capsys.readouterr().err
    assert place.custody(*typed, "--digest", "00", "--digestAlg", "sha256") == 2
    assert place.custody("verify-blob", *place.who(), "--bundle", "a.json", "blob") == 4
    # Of a file that is elsewhere, and of a statement that is there already.
    assert place.custody(*line, "--hash", digest, "elsewhere") == 0
    assert place.custody(*typed, "blob") == 0
    whole = ("attest-blob", "--key", key(place), "--statement", "statement.json", "--bundle", "s.json")
    assert place.custody(*whole) == 0
    mine = ("verify-blob-attestation", "--key", key(place, "cosign.pub"), "--bundle", "s.json", "--type", "cyclonedx")
    assert place.custody(*mine, "blob") == 0
    capsys.readouterr()
    assert place.custody(*whole, "other") == 4
    assert "subject: the statement is about" in capsys.readouterr().err
    assert place.custody("attest-blob", "--key", key(place), "--bundle", "s.json", "blob") == 2
    assert "--predicate and --statement: give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["custom", "slsaprovenance", "slsaprovenance02", "slsaprovenance1", "link", "spdx",
                                  "spdxjson", "cyclonedx", "vuln", "openvex", "https://example.com/predicate/v1"])
def test_every_type(place: Site, kind: str) -> None:
    Path("p").write_text("SPDXVersion: SPDX-2.3\n" if kind == "spdx" else '{"a": 1}')
    where = ("--key", key(place), "--signing-config", str(place.folder / "empty.json"), "--bundle", "a.json")
    assert place.custody("attest-blob", *where, "--predicate", "p", "--type", kind, "blob") == 0
    assert place.custody("verify-blob-attestation", "--key", key(place, "cosign.pub"), "--insecure-ignore-tlog",
                         "--bundle", "a.json", "--type", kind, "blob") == 0


def test_authorities_in_pem(place: Site, capsys: Said) -> None:
    """Instead of the trusted root's: a right chain counts, another CA's does not."""
    material = place.stack.material
    from cryptography.hazmat.primitives.serialization import Encoding

    from tests.sign.authority import World

    def write(name: str, *certificates: Any) -> str:
        Path(name).write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
        return name

    *between, root = material.ca_chain
    world = World()
    chain, foreign = write("chain.pem", *between, root), write("foreign.pem", world.ca, world.root)
    sign(place)
    line = ("verify-blob", *place.who(), "--bundle", "b.json", "blob")
    assert place.custody(*line, "--certificate-chain", chain) == 0
    assert place.custody(*line, "--ca-roots", write("root.pem", root), "--ca-intermediates",
                         write("between.pem", *between)) == 0
    assert place.custody(*line, "--timestamp-certificate-chain", write("tsa.pem", *material.tsa_chain)) == 0
    capsys.readouterr()
    assert place.custody(*line, "--certificate-chain", foreign) == 4
    assert "certificate: no trusted authority issued it" in capsys.readouterr().err
    assert place.custody(*line, "--timestamp-certificate-chain", write("t.pem", world.tsa, world.tsa_root)) == 4
    assert "timestamp: " in capsys.readouterr().err
    assert place.custody(*line, "--ca-roots", chain, "--certificate-chain", chain) == 2
    assert place.custody(*line, "--ca-intermediates", chain) == 2


def test_offline_opens_no_socket(place: Site, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    sign(place)
    Path("p").write_text("{}")
    assert place.custody("attest-blob", "--identity-token", place.token(), "--predicate", "p", "--bundle", "a.json",
                         "blob") == 0
    opened: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        opened.append(address)
        raise OSError("no socket may be opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    assert place.custody("verify-blob", *place.who(), "--offline", "--bundle", "b.json", "blob") == 0
    assert place.custody("verify-blob-attestation", *place.who(), "--offline", "--bundle", "a.json", "blob") == 0
    assert place.custody("bundle", "inspect", "b.json") == 0
    capsys.readouterr()
    for kept in ("hashivault://key", "k8s://default/key"):
        assert place.custody("verify-blob", "--offline", "--key", kept, "--bundle", "b.json", "blob") != 0
    assert opened == []


def test_inspect(place: Site, capsys: Said) -> None:
    sign(place)
    capsys.readouterr()
    assert place.custody("bundle", "inspect", "b.json") == 0
    said = capsys.readouterr()
    assert "It does not perform cryptographic verification" in said.err
    for line in (f"- Bundle Media Type: {bundles.MEDIA_TYPE}", "  - Content: X.509 Certificate",
                 "    - Signature Algorithm: ECDSA-SHA256", f"        - Email: {PERSON}",
                 "      - Extended Key Usage: Code Signing", f"      - Issuer (V2): {place.stack.people.url}",
                 "  - Transparency Log Entries: 1", "      - Kind: hashedrekord", "      - Version: 0.0.2",
                 f"      - Log URL: {place.stack.endpoints.log}", "      - Integrated Time: 0 (Not set)",
                 "      - Hash Algorithm: SHA-512", "  - Type: Message Signature"):
        assert line.strip() in [own.strip() for own in said.out.splitlines()], line
    Path("b.json").write_text('{"mediaType": "x"}')
    assert place.custody("bundle", "inspect", "b.json") == 2
    assert "'x' is no Sigstore bundle" in capsys.readouterr().err


def test_trusted_root_of_pem(place: Site, capsys: Said) -> None:
    """What the services' own trusted root has, made of PEM: what they signed verifies by it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    material, endpoints = place.stack.material, place.stack.endpoints
    start = "2020-01-01T00:00:00Z"

    def pem(name: str, *certificates: Any) -> str:
        Path(name).write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
        return name

    def public(name: str, signer: Any) -> str:
        Path(name).write_bytes(signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return name

    log = material.log_signer(endpoints)
    line = ["trusted-root", "create", "--out", "root.json",
            "--fulcio", f"url=http://ca,certificate-chain={pem('ca.pem', *material.ca_chain)}",
            "--tsa", f"url=http://tsa,certificate-chain={pem('tsa.pem', *material.tsa_chain)}",
            "--rekor", f"url=http://log,public-key={public('log.pub', log)},start-time={start},origin={log.name}"]
    Path("ct.pub").write_bytes(material.ctlog_key.public_key().public_bytes(Encoding.PEM,
                                                                            PublicFormat.SubjectPublicKeyInfo))
    assert place.custody(*line, "--ctfe", f"url=http://ct,public-key=ct.pub,start-time={start}") == 0
    sign(place)
    verify = ("verify-blob", *place.who(), "--bundle", "b.json", "--trusted-root", "root.json", "blob")
    assert place.custody(*verify) == 0
    assert place.custody(*line[:-2], "--with-default-services", "--no-default-rekor") == 0
    capsys.readouterr()
    assert place.custody(*verify) == 4
    assert "log entry: " in capsys.readouterr().err
    for flag, spec, reason in (
            ("--fulcio", "url=https://x", "--fulcio: certificate-chain: not given"),
            ("--fulcio", "url=https://x,certificate-chain=ca.pem,colour=red", "--fulcio: colour: is no key of it"),
            ("--rekor", "url=https://x,public-key=log.pub", "--rekor: start-time: not given"),
            ("--rekor", "url=https://x,public-key=ca.pem,start-time=" + start, "expected a PEM public key"),
            ("--tsa", "url=https://x,certificate-chain=ca.pem", "begins with a CA certificate"),
            ("--fulcio", f"url=https://x,certificate-chain=ca.pem,start-time={start},end-time=2019-01-01T00:00:00Z",
             "end-time is before the start"),
            ("--fulcio", "url", "expected KEY=VALUE")):
        assert place.custody("trusted-root", "create", flag, spec) == 2
        assert reason in capsys.readouterr().err
    assert place.custody("trusted-root", "create", "--no-default-tsa") == 2


def test_signing_config(place: Site, capsys: Said) -> None:
    def spec(url: str, version: int = 1) -> str:
        return f"url={url},api-version={version},start-time=2020-01-01T00:00:00Z,operator=test"

    ends = place.stack.endpoints
    assert place.custody("signing-config", "create", "--fulcio", spec(ends.ca), "--rekor", spec(ends.log, 2),
                         "--rekor-config", "ANY", "--oidc-provider", spec(ends.oidc), "--tsa", spec(ends.tsa),
                         "--tsa-config", "EXACT:1", "--out", "config.json") == 0
    sign(place, "--signing-config", "config.json")
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "blob") == 0
    assert place.custody("signing-config", "create", "--base-config", "config.json", "--no-default-tsa", "--rekor",
                         spec("http://other"), "--rekor-config", "all", "--out", "other.json") == 0
    made = json.loads(Path("other.json").read_bytes())
    assert [log["url"] for log in made["rekorTlogUrls"]] == ["http://other"]
    assert (made["rekorTlogConfig"], made["tsaUrls"]) == ({"selector": "ALL"}, [])
    capsys.readouterr()
    assert place.custody("sign-blob", "--key", key(place), "--signing-config", "other.json", "--bundle", "b.json",
                         "blob") == 2
    assert "ALL: custody signs with one service of a kind" in capsys.readouterr().err
    for more, reason in ((["--rekor", spec("http://x")], "--rekor-config: not given"),
                         (["--tsa-config", "SOME"], "expected ANY, ALL or EXACT:N"),
                         (["--fulcio", spec("ftp://x")], "expected an http or https URL"),
                         (["--no-default-tsa"], "neither is given")):
        assert place.custody("signing-config", "create", *more) == 2
        assert reason in capsys.readouterr().err


def test_bundle_of_parts(place: Site, capsys: Said) -> None:
    sign(place, "--output-signature", "s", "--output-certificate", "c")
    parts = ("bundle", "create", "--artifact", "blob")
    assert place.custody(*parts, "--signature", "s", "--certificate", "c", "--ignore-tlog", "--out", "n.json") == 0
    assert place.custody("verify-blob", *place.who(), "--bundle", "n.json", "--insecure-ignore-tlog", "blob") == 4
    assert "time: nothing attests when the signature was made" in capsys.readouterr().err
    assert place.custody("sign-blob", "--key", key(place), "--bundle", "k.json", "--output-signature", "k", "blob") == 0
    assert place.custody(*parts, "--signature", "k", "--key", key(place, "cosign.pub"), "--ignore-tlog", "--out",
                         "n.json") == 0
    assert place.custody("verify-blob", "--key", key(place, "cosign.pub"), "--bundle", "n.json",
                         "--insecure-ignore-tlog", "blob") == 0
    capsys.readouterr()
    for more, reason in ((("--signature", "k"), "--key: not given, and there is no certificate"),
                         (("--signature", "k", "--key", key(place, "cosign.pub")), "no log is searched for one"),
                         (("--bundle", "k.json"), "is no bundle in cosign's older form"),
                         ((), "--signature, --attestation and --bundle: give one of them")):
        assert place.custody(*parts, *more) == 2
        assert reason in capsys.readouterr().err


def _key(place: Site, half: str = "key") -> tuple[str, str]:
    return "--key", str(place.folder / f"cosign.{half}")


@pytest.mark.parametrize(("more", "reason"), [
    (("--ca-roots", "leaf.pem"), "--key and --ca-roots: give one"),
    (("--certificate-chain", "leaf.pem"), "--key and --certificate-chain: give one"),
    (("--ca-intermediates", "leaf.pem"), "--key and --ca-intermediates: give one")])
def test_a_key_has_no_authorities(place: Site, capsys: Said, more: tuple[str, ...], reason: str) -> None:
    assert place.custody("sign-blob", *_key(place), "--bundle", "b.json", "blob") == 0
    assert place.custody("verify-blob", *_key(place, "pub"), "--bundle", "b.json", *more, "blob") == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("command", "more", "reason"), [
    ("sign-blob", ("--output-certificate", "c.pem"), "a key signs, and there is no certificate"),
    ("attest-blob", ("--rfc3161-timestamp-bundle", "t.json"), "names no timestamp authority")])
def test_what_will_not_be_there_is_said_before_anything_is_signed(place: Site, capsys: Said, command: str,
                                                                  more: tuple[str, ...], reason: str) -> None:
    Path("none.json").write_bytes(SigningConfig().to_json())
    Path("p.json").write_text("{}")
    given = ("--predicate", "p.json") if command == "attest-blob" else ()
    Path("b.json").unlink(missing_ok=True)
    assert place.custody(command, *_key(place), "--signing-config", "none.json", "--bundle", "b.json", *given, *more,
                         "blob") == 2
    assert reason in capsys.readouterr().err
    assert not Path("b.json").exists()


def test_flags_that_would_be_passed_over(place: Site, capsys: Said) -> None:
    Path("st.json").write_bytes(intoto.statement("sha256:" + "0" * 64, "https://a/b", {}).to_bytes())
    assert place.custody("attest-blob", *_key(place), "--bundle", "b.json", "--statement", "st.json", "--type",
                         "slsaprovenance1") == 2
    assert "--type: a statement says itself of which type its predicate is" in capsys.readouterr().err
    assert place.custody("verify-blob-attestation", *_key(place, "pub"), "--bundle", "b.json", "--check-claims=false",
                         "--digestAlg", "sha512") == 2
    assert "--check-claims=false: no file is compared" in capsys.readouterr().err


def test_a_base_keeps_how_many_are_asked(place: Site, capsys: Said) -> None:
    spec = "url=https://x.example,api-version=1,start-time=2026-01-01T00:00:00Z,operator=o"
    assert place.custody("signing-config", "create", "--rekor", spec, "--rekor-config", "EXACT:2", "--out", "a") == 0
    assert place.custody("signing-config", "create", "--base-config", "a", "--tsa", spec, "--tsa-config", "ALL",
                         "--out", "b") == 0
    made = json.loads(Path("b").read_text())
    assert made["rekorTlogConfig"] == {"selector": "EXACT", "count": 2}
    assert made["tsaConfig"] == {"selector": "ALL"}
    assert place.custody("sign-blob", *_key(place), "--signing-config", "b", "--bundle", "b.json", "blob") == 2
    assert "custody signs with one service of a kind" in capsys.readouterr().err


def test_a_pem_file_is_read_whole_or_not(place: Site, capsys: Said) -> None:
    Path("big.pem").write_bytes(b"x" * ((1 << 20) + 1))
    assert place.custody("trusted-root", "create", "--fulcio", "url=https://x.example,certificate-chain=big.pem") == 2
    assert "has more than 1048576 bytes" in capsys.readouterr().err


def test_what_is_no_root_or_url_makes_no_trusted_root(place: Site, capsys: Said) -> None:
    sign(place, "--output-certificate", "wrapped.crt")
    Path("leaf.crt").write_bytes(base64.b64decode(Path("wrapped.crt").read_bytes()))
    chain = "certificate-chain=leaf.crt"
    capsys.readouterr()
    assert place.custody("trusted-root", "create", "--fulcio", f"url=https://x.example,{chain}") == 2
    assert "expected a self-signed certificate of a CA as the last" in capsys.readouterr().err
    assert place.custody("verify-blob", *place.who(), "--bundle", "b.json", "--ca-roots", "leaf.crt", "blob") == 2
    assert "expected a self-signed certificate of a CA as the last" in capsys.readouterr().err
    assert place.custody("trusted-root", "create", "--fulcio", f"url=garbage,{chain}") == 2
    assert "url: got 'garbage', expected an http or https URL" in capsys.readouterr().err


def test_a_promise_beyond_the_calendar_is_shown_as_that(place: Site, capsys: Said) -> None:
    world, key = World(), new_key()
    promised = world.leaf(key, sct_at=SimpleNamespace(timestamp=lambda: 10**12))  # type: ignore[arg-type]
    Path("late.json").write_text(json.dumps(world.keyless(key=key, cert=promised)))
    assert place.custody("bundle", "inspect", "late.json") == 0
    assert "its timestamp is beyond the year 9999" in capsys.readouterr().out
