"""signingkeys.json, config.json and the directory that they lie in."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.sign.notary.directory import Directory, directory, read_document, write_document
from custody.sign.notary.signingkeys import (
    Configuration,
    SigningKey,
    SigningKeys,
    load_configuration,
    load_signing_keys,
    open_local_key,
    save_signing_keys,
)
from tests.sign.notary.materials import chain_of, directory_in, key_of, key_pem, pem

LOCAL = {"name": "a", "keyPath": "/k", "certPath": "/c"}
PLUGIN = {"name": "b", "id": "1", "pluginName": "p", "pluginConfig": {"x": "y"}}


@pytest.fixture
def place(tmp_path: Path) -> Directory:
    return directory_in(tmp_path / "notation")


def said(place: Directory, document: Any) -> SigningKeys:
    place.config.mkdir(parents=True, exist_ok=True)
    place.signing_keys.write_text(document if isinstance(document, str) else json.dumps(document))
    return load_signing_keys(place)


@pytest.mark.parametrize(("environment", "config", "libexec", "cache"), [
    ({"HOME": "/h"}, "/h/.config/notation", "/h/.config/notation", "/h/.cache/notation"),
    ({"HOME": "/h", "XDG_CONFIG_HOME": "/x", "XDG_CACHE_HOME": "/y"}, "/x/notation", "/x/notation", "/y/notation"),
    ({"HOME": "/h", "NOTATION_CONFIG": "/n"}, "/n", "/n", "/h/.cache/notation"),
    ({"NOTATION_CONFIG": "n", "NOTATION_LIBEXEC": "/l", "NOTATION_CACHE": "/c"}, "n", "/l", "/c"),
    ({"XDG_CONFIG_HOME": "relative"}, ".notation", ".notation", ".notation/cache"),
    ({}, ".notation", ".notation", ".notation/cache")])
def test_where_it_is(environment: dict[str, str], config: str, libexec: str, cache: str) -> None:
    assert directory(environment) == Directory(Path(config), Path(libexec), Path(cache))


def test_names_of_paths(place: Directory) -> None:
    assert place.plugin("x.y-z_1") == place.libexec / "plugins" / "x.y-z_1" / "notation-x.y-z_1"
    for name in ("", ".", "..", "a/b", "a b", "ä", "a\n"):
        for made in (place.local_key, place.plugin, lambda name: place.trust_store("ca", name)):
            with pytest.raises(UsageError, match="letters, digits"):
                made(name)
    with pytest.raises(UsageError, match="expected ca, signingAuthority, tsa"):
        place.trust_store("other", "x")


def test_there_and_back(place: Directory) -> None:
    assert load_signing_keys(place) == SigningKeys()
    keys = said(place, {"default": "a", "keys": [LOCAL, PLUGIN]})
    assert keys == SigningKeys((SigningKey("a", "/k", "/c"), SigningKey("b", "", "", "1", "p", {"x": "y"})), "a")
    save_signing_keys(place, keys)
    assert load_signing_keys(place) == keys
    assert json.loads(place.signing_keys.read_text()) == {"default": "a", "keys": [LOCAL, PLUGIN]}
    assert place.signing_keys.stat().st_mode & 0o777 == 0o600
    assert said(place, {"keys": None}) == SigningKeys()


@pytest.mark.parametrize(("document", "kind", "reason"), [
    ({"keys": [LOCAL, {**PLUGIN, "name": "a"}]}, MalformedError, "two keys named a"),
    ({"default": "z", "keys": [LOCAL]}, MalformedError, "got 'z', expected the name of one of its keys"),
    ({"default": "", "keys": [LOCAL]}, MalformedError, "expected the name of one of its keys"),
    ({"keys": [{**LOCAL, "name": ""}]}, MalformedError, "expected a name"),
    ({"keys": [{"name": "a"}]}, MalformedError, "keyPath and certPath, or id and pluginName"),
    ({"keys": [{**LOCAL, **PLUGIN}]}, MalformedError, "keyPath and certPath, or id and pluginName"),
    ({"keys": [{"name": "a", "keyPath": "/k"}]}, MalformedError, "keyPath and certPath, or id and pluginName"),
    ({"keys": [{"name": "a", "id": "/k"}]}, MalformedError, "keyPath and certPath, or id and pluginName"),
    ({"keys": [{**LOCAL, "keyPath": 7}]}, MalformedError, "keys[0].keyPath: got 7, expected text"),
    ({"keys": [{**PLUGIN, "pluginConfig": {"x": 1}}]}, MalformedError, "expected texts by name"),
    ({"keys": [{**LOCAL, "password": "x"}]}, UnsupportedError, "keys[0].password: no such field"),
    ({"keys": [LOCAL], "Keys": []}, UnsupportedError, "Keys: no such field"),
    ({"keys": {}}, MalformedError, "expected a list"), ("[]", MalformedError, "expected a JSON object"),
    ('{"keys":[],"keys":[]}', MalformedError, "key 'keys' twice"), ("{", MalformedError, "one JSON document"),
    ("[" * 100, MalformedError, ""), (" " * (1 << 20 + 1), MalformedError, "more than 1048576 bytes")])
def test_what_is_refused(place: Directory, document: Any, kind: type[CustodyError], reason: str) -> None:
    with pytest.raises(CustodyError) as raised:
        said(place, document)
    assert type(raised.value) is kind
    assert reason in raised.value.message
    assert str(place.signing_keys) in raised.value.message


def test_the_list(place: Directory) -> None:
    keys = SigningKeys().with_key(SigningKey("one", "k", "c"), default=True)
    keys = keys.with_key(SigningKey("two", id="1", plugin="p"), default=False)
    assert (keys.key(None).name, keys.key("two").plugin) == ("one", "p")
    with pytest.raises(UsageError, match="is in the list already"):
        keys.with_key(SigningKey("one", "k", "c"), default=True)
    with pytest.raises(UsageError, match="not in the list") as raised:
        keys.key("twoo")
    assert raised.value.hint == "did you mean two?"
    with pytest.raises(UsageError, match="three: not in the list"):
        keys.without(["one", "three"])
    assert keys.without(["one"]) == SigningKeys((SigningKey("two", id="1", plugin="p"),), None)
    assert keys.with_default("two").default == "two"
    with pytest.raises(UsageError, match="no default signing key is set"):
        keys.without(["one"]).key(None)


def test_places_that_are_no_files(place: Directory, tmp_path: Path) -> None:
    place.config.mkdir()
    real = tmp_path / "real.json"
    real.write_text('{"keys":[]}')
    place.signing_keys.symlink_to(real)
    with pytest.raises(MalformedError, match="got 'a link'"):
        load_signing_keys(place)
    with pytest.raises(UsageError, match="is a link"):
        save_signing_keys(place, SigningKeys())
    assert real.read_text() == '{"keys":[]}'
    place.signing_keys.unlink()
    place.signing_keys.mkdir()
    with pytest.raises(MalformedError, match="got 'no file'"):
        load_signing_keys(place)
    place.signing_keys.rmdir()
    os.mkfifo(place.signing_keys)  # which would be waited for
    with pytest.raises(MalformedError, match="got 'no file'"):
        load_signing_keys(place)


@pytest.mark.parametrize(("key", "certificate", "words"), [
    ("pipe", "right", "private key pipe: is no regular file"), ("right", "pipe", "certificates pipe: is no regular"),
    ("/dev/zero", "right", "private key /dev/zero: is no regular file"), (".", "right", "private key .: is no regular"),
    ("absent", "right", "private key absent: No such file"), ("a\0b", "right", "embedded null byte"),
    ("right", "large", "certificates large: got 'more than 1048576 bytes', expected at most 1048576")])
def test_files_of_a_key_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, certificate: str,
                                          words: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("right").write_bytes(pem(*chain_of("EC-256")) + key_pem(key_of("EC-256")))
    Path("large").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(UsageError) as raised:
        open_local_key(SigningKey("mine", key, certificate))
    assert raised.value.message.startswith("signing key mine: ")
    assert words in raised.value.message


def test_a_directory_that_nobody_may_write() -> None:
    """Not root either: files of that name are the kernel's to make."""
    with pytest.raises(UsageError, match=r"No such file|Permission denied") as raised:
        save_signing_keys(directory_in(Path("/proc/self/notation")), SigningKeys())
    assert raised.value.hint == "NOTATION_CONFIG names another"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(place: Directory) -> None:
    place.config.mkdir(mode=0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        save_signing_keys(place, SigningKeys())


def test_a_directory_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=r"File exists|Not a directory"):
        write_document(tmp_path / "file" / "config" / "signingkeys.json", b"{}")
    assert read_document(tmp_path / "file" / "signingkeys.json") is None


def test_configuration(place: Directory) -> None:
    assert load_configuration(place) == Configuration("jws", ())
    place.config.mkdir()
    place.config_file.write_text('{"signatureFormat":"cose","insecureRegistries":["r:5000"],"credsStore":"pass"}')
    assert load_configuration(place) == Configuration("cose", ("r:5000",))
    for document, reason in (('{"signatureFormat":"cms"}', "expected jws or cose"),
                             ('{"insecureRegistries":"r"}', "expected a list of hosts"),
                             ('{"signatureFormats":"jws"}', "signatureFormats: no such field")):
        place.config_file.write_text(document)
        with pytest.raises(UsageError, match=reason):
            load_configuration(place)


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "keyPath", "certPath", "id", "pluginName", "x",
                                                          "pluginConfig", "keys", "default"]), inner, max_size=4))


@given(st.dictionaries(st.sampled_from(["keys", "default", "x"]), VALUES, max_size=3))
def test_no_document_breaks_it(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    place = directory_in(tmp_path_factory.mktemp("any"))
    with contextlib.suppress(CustodyError):
        keys = said(place, document)
        save_signing_keys(place, keys)
        assert load_signing_keys(place) == keys
