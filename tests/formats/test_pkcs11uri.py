"""Names of keys on tokens (RFC 7512): what they say, what is refused, and that no PIN is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.cli.run import run
from custody.errors import UsageError
from custody.formats.pkcs11uri import TokenUri, is_token, parse


def test_all_that_is_said() -> None:
    uri = parse("pkcs11:token=The%20Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
                "serial=4;slot-id=327;object=my+key;id=%69%95%3E;type=private?module-path=/usr/lib/p11.so&pin-value=a%26b")
    assert uri == TokenUri(token="The Software PKCS#11 softtoken", manufacturer="Snake Oil, Inc.", model="1.0",
                           serial="4", slot=327, label="my+key", id=b"i\x95>", module="/usr/lib/p11.so", pin="a&b")
    assert "a&b" not in f"{uri} {uri!r} {uri.name}"
    assert "a%26b" not in f"{uri} {uri!r} {uri.name}"
    assert parse(str(uri)) == parse(f"{uri.name}?module-path=/usr/lib/p11.so")
    assert parse(uri.name).label == "my+key"


@pytest.mark.parametrize("name", ["PKCS11:token=t;object=o?pin-value=4711", " pkcs11:token=t;object=o?pin-value=4711",
                                  "PKCS11:token=t;pin-value=4711", "pkcs11:token=t;pin-value=4711"])
def test_a_pin_in_a_name_that_is_written_wrongly(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was taken for a file's name, which an error shows."""
    (tmp_path / "file").write_text("x")
    for command in (("public-key",), ("sign-blob", "--tlog-upload=false", str(tmp_path / "file")),
                    ("verify-blob", "--bundle", str(tmp_path / "file"), str(tmp_path / "file"))):
        assert run([*command, "--key", name]) == 2
        said = capsys.readouterr()
        assert "4711" not in said.out + said.err
    assert is_token(name)
    assert not is_token("pkcs11.key")


@pytest.mark.parametrize("text", ["token=t;object=ä;b=c", "token=t;object=%3B%3F%25;id=%00"])
def test_what_is_written_is_read(text: str) -> None:
    if "b=c" in text:
        with pytest.raises(UsageError, match="PKCS#11 URI: attribute: got 'b'"):
            parse(f"pkcs11:{text}")
        return
    uri = parse(f"pkcs11:{text}")
    assert parse(str(uri)) == uri
    assert uri.label == ";?%"


@pytest.mark.parametrize(("text", "words"), [
    ("pkcs11:object=o", "neither token nor slot-id"), ("pkcs11:token=t", "neither object nor id"),
    ("pkcs11:token=t;token=u;object=o", "token: got 'it twice'"), ("pkcs11:token;object=o", "an attribute without '='"),
    ("pkcs11:token=t;object=o;slot-id=x", "slot-id: got 'x', expected a number"),
    ("pkcs11:token=t;object=o;type=cert", "type: got 'cert'"), ("pkcs11:token=%ff;object=o", "token: got 'bytes'"),
    ("pkcs11:token=t;object=o?module-name=softhsm2", "module-name: custody does not go by it"),
    ("pkcs11:token=t;object=o;library-version=3", "library-version: custody does not go by it"),
    ("pkcs11:token=t;object=o?pin-value=1&pin-source=/x", "pin-value and pin-source"),
    ("pkcs11:token=t;object=o;pin-value=secret", "PKCS#11 URI: attribute: got 'pin-value'"),
    ("pkcs11:token=t;object=o?pin=secret", "attribute: got 'pin'"), ("pkcs12:x", "expected pkcs11:token="),
    ("pkcs11:", "neither token nor slot-id")])
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
