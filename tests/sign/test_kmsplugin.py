"""Plugins `sigstore-kms-NAME`: what they are asked, and everything that they may do instead of answering."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.sign import kmsplugin
from tests.conftest import ROOT
from tests.sign.kms import pem_of
from tests.sign.site import Site

PROGRAM = ROOT / "tests" / "sign" / "kms_plugin_program.py"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for keys; the plugin `files` is on PATH."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "sigstore-kms-files"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {PROGRAM} \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


def kept(folder: Path, key: object) -> str:
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[attr-defined]
    return f"files://{path}"


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()),
                                 ec.generate_private_key(ec.SECP521R1()), ed25519.Ed25519PrivateKey.generate()],
                         ids=["p256", "p384", "p521", "ed25519"])
def test_images_and_files(site: Site, plugin: Path, key: object) -> None:
    name = kept(plugin, key)
    (plugin / "k.pub").write_bytes(pem_of(key))
    (plugin / "blob").write_bytes(b"what is signed\n")
    blob, bundle = str(plugin / "blob"), str(plugin / "b.json")
    config = ("--signing-config", str(site.folder / "empty.json"))
    for given in (name, str(plugin / "k.pub")):
        assert site.custody("sign-blob", "--key", name, *config, "--bundle", bundle, blob) == 0
        assert site.custody("verify-blob", "--key", given, "--insecure-ignore-tlog", "--bundle", bundle, blob) == 0
    image = site.push("plugin")
    assert site.custody("sign", "--key", name, *config, image) == 0
    assert site.custody("verify", "--key", name, "--insecure-ignore-tlog", image) == 0


def test_a_key_that_it_makes(site: Site, plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"files://{plugin / 'made.pem'}"
    assert site.custody("generate-key-pair", "--kms", name, "--output-key-prefix", str(plugin / "made")) == 0
    capsys.readouterr()
    assert site.custody("public-key", "--key", name) == 0
    assert capsys.readouterr().out == (plugin / "made.pub").read_text()


@pytest.mark.parametrize(("lie", "code", "words"), [
    ("signature", 4, "is no signature of this key"), ("nothing", 2, "publicKey.publicKeyPEM: got null"),
    ("words", 2, "status 1, and 'what went wrong'"), ("flood", 6, "or wrote more than 1048576 bytes"),
    ("late", 6, "was ended: it was not done within 1 s")])
def test_a_plugin_that_does_not_answer(site: Site, plugin: Path, monkeypatch: pytest.MonkeyPatch, lie: str, code: int,
                                       words: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = kept(plugin, ec.generate_private_key(ec.SECP256R1()))
    (plugin / "blob").write_bytes(b"x")
    monkeypatch.setenv("KMS_LIE", lie)
    if lie == "late":
        monkeypatch.setattr(kmsplugin, "_SECONDS", 1.0)
    assert site.custody("sign-blob", "--key", name, "--signing-config", str(site.folder / "empty.json"), "--bundle",
                        str(plugin / "b.json"), str(plugin / "blob")) == code
    assert words in capsys.readouterr().err
    assert not (plugin / "b.json").exists()


def test_errors_have_the_plugins_words(site: Site, plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.custody("public-key", "--key", f"files://{plugin}/absent.pem") == 1
    assert f"publicKey: {plugin}/absent.pem is not there" in capsys.readouterr().err
    assert site.custody("verify", "--key", f"files://{plugin}/absent.pem", "x/y") == 4
    assert "absent.pem is not there" in capsys.readouterr().err


def test_a_plugin_that_is_not_installed(site: Site, plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.custody("public-key", "--key", "another://key") == 2
    said = capsys.readouterr().err
    assert "there is no program sigstore-kms-another" in said
    assert "hint: install that plugin" in said
    assert site.custody("public-key", "--key", "http://example.com/key") == 2
    said = capsys.readouterr().err
    assert "--key: custody takes no key of such a name (http) here" in said
    assert "hint: a file, env://NAME, hashivault://" in said
    assert site.custody("import-key-pair", "--key", "hashivault://release") == 2
    assert "hint: a file, or env://NAME\n" in capsys.readouterr().err
