"""Keys on tokens, of SoftHSM, and modules that crash, hang, or are none. Skipped where SoftHSM is not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.pkcs11 import tokens
from custody.ports.programs import Finished
from tests.conftest import ROOT
from tests.sign.site import Site

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
           "/usr/lib64/pkcs11/libsofthsm2.so")
KINDS = ("p256", "p384", "p521", "rsa")
PIN = "1234-pin"


class Token:
    """One initialized token and its module."""

    def __init__(self, module: str) -> None:
        self.module = module
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "mine", "--pin", PIN, "--so-pin", "5678"],
                       check=True, capture_output=True)

    def add(self, *keys: dict[str, Any]) -> None:
        subprocess.run([sys.executable, ROOT / "tests" / "sign" / "token_keys.py", self.module, "mine", PIN],
                       input=json.dumps(keys), text=True, check=True)

    def key(self, label: str, *more: str) -> str:
        return f"pkcs11:token=mine;object={label}?" + "&".join((f"module-path={self.module}", *more))


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    module = next((path for path in MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM (softhsm2) is not installed")
    pytest.importorskip("pkcs11", reason="the extra pkcs11 is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    for name in ("COSIGN_PKCS11_PIN", "COSIGN_PKCS11_MODULE_PATH", "PKCS11_MODULE_PATH",
                 "COSIGN_PKCS11_IGNORE_CERTIFICATE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "blob").write_bytes(b"what is signed\n")
    return Token(module)


def sign(site: Site, folder: Path, key: str) -> int:
    return site.custody("sign-blob", "--key", key, "--signing-config", str(site.folder / "empty.json"), "--bundle",
                        str(folder / "b.json"), str(folder / "blob"))


def verify(site: Site, folder: Path, key: str) -> int:
    return site.custody("verify-blob", "--key", key, "--insecure-ignore-tlog", "--bundle", str(folder / "b.json"),
                        str(folder / "blob"))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert PIN not in said
    assert "wrong-pin" not in said
    return said


def test_every_kind_of_key_signs(site: Site, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    token.add(*({"kind": kind, "label": kind, "id": f"{number:02x}"} for number, kind in enumerate(KINDS, 1)))
    monkeypatch.setenv("COSIGN_PKCS11_PIN", PIN)
    for kind in KINDS:
        image = site.push(f"token-{kind}")
        assert site.custody("sign", "--key", token.key(kind), image) == 0
        assert sign(site, tmp_path, token.key(kind)) == 0
        monkeypatch.delenv("COSIGN_PKCS11_PIN")  # who verifies needs none
        assert site.custody("verify", "--key", token.key(kind), image) == 0
        assert verify(site, tmp_path, token.key(kind)) == 0
        capsys.readouterr()
        assert site.custody("public-key", "--key", token.key(kind)) == 0
        (tmp_path / "k.pub").write_text(capsys.readouterr().out)
        assert verify(site, tmp_path, str(tmp_path / "k.pub")) == 0
        assert verify(site, tmp_path, token.key(next(name for name in KINDS if name != kind))) == 4
        monkeypatch.setenv("COSIGN_PKCS11_PIN", PIN)


def test_ed25519(site: Site, token: Token, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token.add({"kind": "ed25519", "label": "ed"})
    key = token.key("ed", f"pin-value={PIN}")
    assert sign(site, tmp_path, key) == 0
    assert verify(site, tmp_path, key) == 0
    capsys.readouterr()
    assert site.custody("sign", "--key", key, site.push("token-ed")) == 2  # its log wants Ed25519ph
    assert "does not sign as Ed25519ph" in refused(capsys)


def test_ways_to_say_which_key_and_its_pin(site: Site, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    token.add({"kind": "p256", "label": "same", "id": "01"}, {"kind": "p256", "label": "same", "id": "02ff"})
    (tmp_path / "pin").write_text(f"{PIN}\n")
    source = f"pin-source={tmp_path / 'pin'}"
    assert sign(site, tmp_path, token.key("same", source)) == 2
    assert "there are 2 public keys of that name: name one by its id" in refused(capsys)
    named = token.key("same", source).replace("object=same", "object=same;id=%02%ff")
    assert sign(site, tmp_path, named) == 0
    assert verify(site, tmp_path, named) == 0
    assert verify(site, tmp_path, named.replace("%02%ff", "%01")) == 4
    capsys.readouterr()
    assert site.custody("pkcs11-tool", "list-tokens", "--module-path", token.module) == 0
    listed = capsys.readouterr().out
    assert "\tLabel: mine\n" in listed
    slot = listed.partition("Token in slot ")[2].partition("\n")[0]
    serial = listed.partition("\tS/N: ")[2].partition("\n")[0]
    monkeypatch.setenv("COSIGN_PKCS11_MODULE_PATH", token.module)
    for path in (f"slot-id={slot};id=%02%ff", f"serial={serial};id=%02%FF", f"token=mine;slot-id={slot};id=%02%ff"):
        assert verify(site, tmp_path, f"pkcs11:{path}") == 0
    for path in ("slot-id=7;id=%02%ff", "token=other;id=%02%ff", "token=mine;serial=1;id=%02%ff"):
        capsys.readouterr()
        assert sign(site, tmp_path, f"pkcs11:{path}?{source}") == 6
        assert "there is no such token; there is 'mine' in slot" in refused(capsys)
    assert site.custody("pkcs11-tool", "list-keys-uris", "--slot-id", slot, "--pin", PIN) == 0
    printed = capsys.readouterr().out
    uris = [line.partition("URI: ")[2] for line in printed.splitlines() if "URI: " in line]
    assert PIN not in printed
    assert len(uris) == 2
    monkeypatch.setenv("COSIGN_PKCS11_PIN", PIN)
    assert [sign(site, tmp_path, uri) for uri in uris] == [0, 0]


def test_pins(site: Site, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
              capsys: pytest.CaptureFixture[str]) -> None:
    token.add({"kind": "p256", "label": "release"})
    assert sign(site, tmp_path, token.key("release")) == 5
    said = refused(capsys)
    assert "pkcs11:token=mine;object=release: the token wants a PIN before it signs" in said
    assert "hint: set COSIGN_PKCS11_PIN" in said
    assert sign(site, tmp_path, token.key("release", "pin-value=wrong-pin")) == 5
    assert "release: the PIN is wrong" in refused(capsys)
    monkeypatch.setenv("COSIGN_PKCS11_PIN", "wrong-pin")
    assert sign(site, tmp_path, token.key("release")) == 5
    assert "release: the PIN is wrong" in refused(capsys)
    assert sign(site, tmp_path, token.key("release", f"pin-source={tmp_path}/absent")) == 2
    assert "pin-source" in refused(capsys)
    asked: list[str] = []
    monkeypatch.delenv("COSIGN_PKCS11_PIN")
    monkeypatch.setattr("custody.cli.kept_keys.ask_pin", lambda name: asked.append(name) or PIN)
    assert sign(site, tmp_path, token.key("release")) == 0
    assert asked == ["pkcs11:token=mine;object=release"]
    assert site.custody("pkcs11-tool", "list-keys-uris", "--module-path", token.module, "--slot-id", "999999") == 6
    assert "there is no such token" in refused(capsys)


def test_keys_that_do_not_sign(site: Site, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    token.add({"kind": "p256", "label": "mute", "id": "01", "sign": False},
              {"kind": "p256", "label": "half", "id": "02", "public": False},
              {"kind": "p256", "label": "certified", "id": "03", "public": False, "certificate": True},
              {"kind": "rsa", "label": "rsa", "id": "04", "public": False})
    monkeypatch.setenv("COSIGN_PKCS11_PIN", PIN)
    assert sign(site, tmp_path, token.key("absent")) == 6
    assert "object=absent: there is no such key" in refused(capsys)
    assert sign(site, tmp_path, token.key("mute")) == 2
    assert "mute: the key may not sign (CKA_SIGN is false)" in refused(capsys)
    assert sign(site, tmp_path, token.key("half")) == 2
    assert "neither its public key nor a certificate" in refused(capsys)
    assert sign(site, tmp_path, token.key("rsa")) == 0  # its private half has the public numbers
    assert sign(site, tmp_path, token.key("certified")) == 0
    assert verify(site, tmp_path, token.key("certified")) == 0
    assert verify(site, tmp_path, token.key("absent")) == 4
    assert "object=absent: there is no such key" in refused(capsys)
    capsys.readouterr()
    monkeypatch.setenv("COSIGN_PKCS11_IGNORE_CERTIFICATE", "1")
    assert sign(site, tmp_path, token.key("certified")) == 2
    assert "neither its public key nor a certificate" in refused(capsys)
    assert site.custody("generate-key-pair", "--kms", token.key("new"), "--output-key-prefix", str(tmp_path / "x")) == 2
    assert "custody makes no keys on tokens" in refused(capsys)


@pytest.mark.parametrize(("path", "words"), [
    ("/nonexistent/module.so", "No such file or directory"), ("/etc", "got no regular file"),
    ("relative.so", "expected the whole path of a library"), ("/etc/passwd", "cannot be loaded"),
    (f"{sys.executable}", "cannot be loaded")])
def test_modules_that_are_none(site: Site, token: Token, tmp_path: Path, path: str, words: str,
                               capsys: pytest.CaptureFixture[str]) -> None:
    assert sign(site, tmp_path, f"pkcs11:token=mine;object=a?module-path={path}") == 2
    assert words in refused(capsys)
    assert site.custody("pkcs11-tool", "list-tokens", "--module-path", path) == 2
    assert words in refused(capsys)


def test_no_module_is_named(site: Site, token: Token, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sign(site, tmp_path, "pkcs11:token=mine;object=a") == 2
    assert "PKCS#11 module: none is named" in refused(capsys)


@pytest.mark.parametrize(("source", "code", "words"), [
    ("int C_GetFunctionList(void *p) { *(volatile int *)0 = 1; return 0; }", 1, "ended its process with signal 11"),
    ("#include <unistd.h>\nint C_GetFunctionList(void *p) { sleep(60); return 0; }", 6, "did not answer within 2 s"),
    ("#include <stdlib.h>\nint C_GetFunctionList(void *p) { exit(0); }", 1, "ended its process with status 0"),
    ("#include <stdio.h>\nint C_GetFunctionList(void *p) { puts(\"{}\"); fflush(stdout); return 5; }", 2,
     "cannot be loaded"),
    ("int C_GetFunctionList(void *p) { return 5; }", 2, "cannot be loaded")])
def test_a_module_that_crashes_or_hangs_is_an_error(
        site: Site, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: int, words: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "module.c").write_text(source)
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", tmp_path / "module.so", tmp_path / "module.c"], check=True)
    monkeypatch.setattr(tokens.Module.__init__, "__kwdefaults__", {"seconds": 2.0})
    assert sign(site, tmp_path, f"pkcs11:token=mine;object=a?module-path={tmp_path}/module.so") == code
    assert words in refused(capsys)


def test_without_the_extra(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    class Programs:
        def run(self, argv: Any, given: bytes, *, seconds: float, limit: int) -> Finished:
            hidden = "import sys; sys.modules['pkcs11'] = None; from custody.adapters.pkcs11 import child; child.main()"
            done = subprocess.run([argv[0], "-c", hidden], input=given, capture_output=True)
            return Finished(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr("custody.wiring.clients.programs", Programs)
    (tmp_path / "blob").write_bytes(b"x")
    assert sign(site, tmp_path, "pkcs11:token=mine;object=a?module-path=/etc/passwd") == 2
    said = refused(capsys)
    assert "need python-pkcs11, which is not installed" in said
    assert "hint: pip install '.[pkcs11]' where custody's sources are" in said
