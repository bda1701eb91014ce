"""`custody notation`'s signing commands, as they are typed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.programs import SystemPrograms
from custody.cli.notation.options import known
from custody.cli.run import run
from custody.errors import UsageError
from custody.formats import notary, oci
from custody.formats import reference as references
from custody.registry.client import RegistryClient
from custody.registry.credentials import Credential
from custody.registry.logins import Find
from custody.services import plugininstall
from custody.sign.notary.directory import Directory
from tests.cli.commands import custody
from tests.registry.odd import odd
from tests.server.test_certificates import Authority
from tests.serving import registry_on, served
from tests.sign.notary.materials import (
    chain_of,
    directory_in,
    environment,
    install_plugin,
    key_of,
    layout,
    list_key,
    pem,
    push_image,
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    made = directory_in(tmp_path / "notation")
    for name, value in environment(made).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("NOTATION_USERNAME", "NOTATION_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    list_key(made, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    return made


def notation(*arguments: str) -> int:
    return run(["notation", *arguments])


def refused(capsys: pytest.CaptureFixture[str], reason: str, code: int, *arguments: str) -> None:
    capsys.readouterr()
    assert notation(*arguments) == code
    said = capsys.readouterr()
    assert reason in said.err, said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.parametrize(("options", "reason"), [
    (("-k", "mine", "--plugin", "p", "--id", "1"), "--key and --plugin: give one"),
    (("-k", "mine", "--id", "1"), "--key and --id: give one"),
    (("--plugin", "p"), "--plugin: got no --id, expected both"),
    (("--id", "1"), "--id: got no --plugin, expected both"),
    (("--timestamp-url", "http://x"), "--timestamp-url: got no --timestamp-root-cert"),
    (("--timestamp-root-cert", "x"), "--timestamp-root-cert: got no --timestamp-url"),
    (("--timestamp-url", "http://x", "--timestamp-root-cert", "absent.pem"), "absent.pem: No such file"),
    (("--plugin-config", "a=b"), "--plugin-config: the signing key mine is a file of this machine"),
    (("-m", "x"), "--user-metadata: got 'x', expected {key}={value}"),
    (("-m", "=x"), "--user-metadata: got '=x'"), (("-m", "x="), "--user-metadata: got 'x='"),
    (("-m", "io.cncf.notary.x=1"), "does not begin with io.cncf.notary"),
    (("-e", "tomorrow"), "--expiry: got 'tomorrow', expected a duration"),
    (("-e", "-1h"), "--expiry: got -1h, expected whole seconds"),
    (("-e", "1500ms"), "--expiry: got 1500ms, expected whole seconds"),
    (("-k", "absent"), "signing key absent: not in the list"),
    (("--signature-format", "cms"), "'cms' is not one of 'jws', 'cose'"),
    (("--force-referrers-tag=perhaps",), "perhaps"),
    (("--force-referrers-tag=false",), "--oci-layout and --force-referrers-tag: give one"),
    (("--plugin", "../p", "--id", "1"), "plugin name: got '../p'")])
def test_options_that_do_not_go_together(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                         options: tuple[str, ...], reason: str) -> None:
    layout(tmp_path / "image")
    refused(capsys, reason, 2, "sign", *options, "--oci-layout", "image:v1")
    assert len(json.loads((tmp_path / "image" / "index.json").read_text())["manifests"]) == 1


@pytest.mark.parametrize("ref", ["image", "image:", "image@", ":v1", "@sha256:1", "image:v1/x"])
def test_a_layout_that_is_not_named_whole(directory: Directory, ref: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "expected DIR:TAG or DIR@DIGEST", 2, "sign", "--oci-layout", ref)


def test_the_format_of_config_json(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    directory.config_file.write_text('{"signatureFormat":"cose"}')
    assert notation("blob", "sign", "file") == 0
    assert notation("blob", "sign", "--signature-format", "jws", "file") == 0
    assert sorted(path.name for path in tmp_path.glob("*.sig")) == ["file.cose.sig", "file.jws.sig"]


@pytest.mark.parametrize(("kind", "name"), [("EC-256", "sha256"), ("RSA-3072", "sha384"), ("EC-521", "sha512")])
def test_a_file_is_named_by_the_hash_of_the_key(directory: Directory, tmp_path: Path, kind: str, name: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"content" * 100_000)
    list_key(directory, kind, key_of(kind), chain_of(kind))
    assert notation("blob", "sign", "-k", kind, "--media-type", "text/plain", "--signature-directory", str(tmp_path),
                    "-m", "a=b", "file") == 0
    assert capsys.readouterr().out == (
        f"Successfully signed file\nSignature file written to {tmp_path}/file.jws.sig\n")
    target = notary.parse_envelope((tmp_path / "file.jws.sig").read_bytes(), notary.JWS).target
    digest = hashlib.new(name, b"content" * 100_000).hexdigest()
    assert target == notary.Target("text/plain", f"{name}:{digest}", 700_000, {"a": "b"})


def test_a_signature_that_is_there(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file.jws.sig").write_text("before")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert notation("blob", "sign", "file") == 0
    assert "Operation cancelled." in capsys.readouterr().out
    assert (tmp_path / "file.jws.sig").read_text() == "before"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert notation("blob", "sign", "file") == 0
    assert (tmp_path / "file.jws.sig").read_text() == "before"
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert notation("blob", "sign", "file") == 0
    assert (tmp_path / "file.jws.sig").read_text() != "before"
    assert notation("blob", "sign", "--force", "file") == 0
    assert "Warning: existing signature file will be overwritten" in capsys.readouterr().err
    (tmp_path / "file.jws.sig").unlink()
    assert notation("blob", "sign", "--force", "file") == 0
    assert capsys.readouterr().err == ""  # nothing was there


def test_files_that_cannot_be_signed(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "absent: No such file", 2, "blob", "sign", "absent")
    os.mkfifo(tmp_path / "pipe")
    refused(capsys, "pipe: is no regular file", 2, "blob", "sign", "pipe")
    (tmp_path / "file").write_text("x")
    stamped = ("blob", "sign", "--timestamp-url", "http://x", "--timestamp-root-cert")
    refused(capsys, "--timestamp-root-cert pipe: is no regular file", 2, *stamped, "pipe", "file")
    (tmp_path / "large.pem").write_bytes(pem(chain_of("EC-256")[-1]).ljust((1 << 16) + 1))
    refused(capsys, "--timestamp-root-cert large.pem: got 'more than 65536 bytes', expected at most 65536", 2,
            *stamped, "large.pem", "file")
    refused(capsys, "No such file or directory", 2, "blob", "sign", "--signature-directory", "absent/dir", "file")
    (tmp_path / "keys.json").write_text("{}")
    directory.signing_keys.write_text('{"keys":[{"name":"a","keyPath":"x","certPath":"y"},'
                                      '{"name":"a","keyPath":"x","certPath":"y"}]}')
    refused(capsys, "two keys named a", 2, "blob", "sign", "file")
    refused(capsys, "two keys named a", 2, "key", "list")


def test_an_envelope_plugin_does_not_sign_files(directory: Directory, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(directory)
    (tmp_path / "file").write_text("x")
    refused(capsys, "makes envelopes and says nothing of its keys", 2, "blob", "sign", "--plugin", "try", "--id", "1",
            "--plugin-config", "capabilities=SIGNATURE_GENERATOR.ENVELOPE", "file")


def test_what_is_said_while_signing(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = layout(tmp_path / "image")
    assert notation("sign", "-v", "--oci-layout", "image:v1") == 0
    said = capsys.readouterr()
    assert said.out == f"Successfully signed image@{digest}\n"
    assert "Warning: Always sign the artifact using digest(@sha256:...) rather than a tag(:v1)" in said.err
    assert "info: signing with the key mine" in said.err
    assert "ES256, 3 certificates, without a timestamp" in said.err
    assert notation("sign", "--oci-layout", f"image@{digest}") == 0
    assert capsys.readouterr().err == ""


async def tags_of(host: str, name: str) -> list[str]:
    async with RegistryClient(StdlibHttp()) as client:
        return await client.tags(references.parse(f"{host}/{name}"))


def test_the_old_name_of_a_flag(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registry_on(tmp_path / "registry") as (host, _):
        for options, tags in (((), 1), (("--allow-referrers-api",), 0), (("--force-referrers-tag=false",), 0),
                              (("--force-referrers-tag",), 1), (("--force-referrers-tag=true",), 1)):
            name = f"app{len(options)}{options[-1][-4:] if options else ''}".lower()
            ref = asyncio.run(push_image(host, name))
            assert notation("sign", *options, ref) == 0
            assert len([tag for tag in asyncio.run(tags_of(host, name)) if tag.startswith("sha256-")]) == tags, options
    assert "deprecated, use --force-referrers-tag=false" in capsys.readouterr().err


class _Asked:
    """What a client is told of a registry."""

    def knowing(self, find: Find, *, plain_http: Sequence[str] = ()) -> _Asked:
        self.find, self.plain = find, list(plain_http)
        return self


@pytest.mark.parametrize(("options", "config", "plain"), [
    ({}, "{}", []), ({"insecure_registry": True}, "{}", ["r.example:5000"]),
    ({}, '{"insecureRegistries":["r.example:5000"]}', ["r.example:5000"]),
    ({}, '{"insecureRegistries":["r.example"]}', [])])
def test_registries_without_tls(directory: Directory, options: dict[str, bool], config: str, plain: list[str]) -> None:
    directory.config_file.write_text(config)
    client = _Asked()
    said = {"insecure_registry": False, "username": None, "password": None, **options}
    assert known(client, "r.example:5000", said) is client  # type: ignore[arg-type, comparison-overlap]
    assert client.plain == plain


@pytest.mark.parametrize(("options", "environment", "login"), [
    ({"username": "ann", "password": "x"}, {}, Credential("ann", "x")),
    ({"password": "token"}, {}, Credential(identity_token="token")),
    ({}, {"NOTATION_USERNAME": "bob", "NOTATION_PASSWORD": "y"}, Credential("bob", "y")),
    ({"username": "ann"}, {"NOTATION_USERNAME": "bob", "NOTATION_PASSWORD": "y"}, Credential("ann", "y")),
    ({}, {}, None)])
def test_whose_login(directory: Directory, options: dict[str, str], environment: dict[str, str],
                     login: Credential | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = _Asked()
    known(client, "r.example", {"insecure_registry": False, "username": None, "password": None,  # type: ignore[arg-type]
                                **options})
    assert client.find("r.example", "app", lambda *_: None) == login
    assert client.find("other.example", "app", lambda *_: None) is None  # a password is for the registry that is named


def test_a_manifest_that_is_said_to_be_another(directory: Directory, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """A registry, or a layout's list, that gives the bytes that were asked for another type."""
    digest = layout(tmp_path / "image")
    data = (tmp_path / "image" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    with odd() as registry:
        registry.put("app", "1", data, oci.INDEX)
        refused(capsys, f"is listed as {oci.INDEX}, and says itself that it is {oci.MANIFEST}", 4, "sign",
                f"{registry.host}/app@{digest}")
        registry.put("app", "1", data)
        assert notation("sign", f"{registry.host}/app@{digest}") == 0
        registry.put("text", "1", b'"what"', "text/plain")
        refused(capsys, "got 'what', expected a JSON object", 2, "sign", f"{registry.host}/text:1")
    path = tmp_path / "image" / "index.json"
    path.write_text(path.read_text().replace(oci.MANIFEST, oci.DOCKER_MANIFEST))
    refused(capsys, f"is listed as {oci.DOCKER_MANIFEST}", 4, "sign", "--oci-layout", f"image@{digest}")


# Keys


def test_keys(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(directory)
    refused(capsys, "plugin absent", 6, "key", "add", "--plugin", "absent", "--id", "1", "k")
    refused(capsys, "--id: got none", 2, "key", "add", "--plugin", "try", "k")
    refused(capsys, "Missing option '--plugin'", 2, "key", "add", "--id", "1", "k")
    assert notation("key", "add", "--plugin", "try", "--id", "1", "--plugin-config", "a=b=c", "k") == 0
    refused(capsys, "signing key k: is in the list already", 2, "key", "add", "--plugin", "try", "--id", "1", "k")
    assert notation("key", "add", "--plugin", "try", "--id", "2", "--default", "d") == 0
    assert "d: marked as default" in capsys.readouterr().out
    assert notation("key", "update", "k") == 0
    assert "--default flag is not set" in capsys.readouterr().err
    assert notation("key", "set", "--default", "k") == 0
    assert json.loads(directory.signing_keys.read_text())["default"] == "k"
    refused(capsys, "did you mean mine?", 2, "key", "update", "--default", "mina")
    refused(capsys, "absent: not in the list", 2, "key", "delete", "d", "absent")
    capsys.readouterr()
    assert notation("key", "delete", "k", "d") == 0
    assert capsys.readouterr().out.splitlines() == [
        "Removed the following keys from Notation signing key list. The source keys still exist.", "k (default)", "d"]
    assert notation("key", "delete", "mine") == 0
    assert capsys.readouterr().out.startswith("Removed mine from Notation signing key list.")
    assert json.loads(directory.signing_keys.read_text()) == {"keys": []}


def test_keys_for_tests(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert notation("cert", "generate-test", "-b", "3072", "--default", "try.io") == 0
    key = directory.config / "localkeys" / "try.io.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    layout(tmp_path / "image")
    assert notation("sign", "--oci-layout", "image:v1") == 0
    refused(capsys, "try.io.key: is there already", 2, "certificate", "generate-test", "try.io")
    key.unlink()
    refused(capsys, "try.io.crt: is there already", 2, "certificate", "generate-test", "try.io")
    refused(capsys, "expected one of 2048, 3072, 4096", 2, "certificate", "generate-test", "-b", "1024", "x")
    refused(capsys, "letters, digits", 2, "certificate", "generate-test", "a/b")
    refused(capsys, "was not made by generate-test", 2, "certificate", "cleanup-test", "mine")
    refused(capsys, "not in the list", 2, "certificate", "cleanup-test", "absent")
    assert notation("cert", "cleanup-test", "try.io") == 0
    assert "does not exist. It was cleaned up before" in capsys.readouterr().out
    assert [path for path in directory.config.rglob("*") if "try.io" in path.name] == []
    assert "try.io" not in directory.signing_keys.read_text()


# Plugins


def packed(folder: Path, form: str, members: dict[str, tuple[bytes, int]]) -> Path:
    path = folder / f"plugin.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, (data, mode) in members.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (stat.S_IFREG | mode) << 16
                archive.writestr(entry, data)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, (data, mode) in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def program(tmp_path: Path) -> bytes:
    return install_plugin(directory_in(tmp_path / "made"), "zipped").read_bytes()


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_plugin_of_an_archive(directory: Directory, tmp_path: Path, program: bytes, form: str,
                                capsys: pytest.CaptureFixture[str]) -> None:
    source = packed(tmp_path, form, {"notation-zipped": (program, 0o755), "LICENSE": (b"free", 0o644),
                                     "version": (b"1.0.0", 0o644)})
    checksum = hashlib.sha256(source.read_bytes()).hexdigest().upper()
    assert notation("plugin", "install", "--file", "--sha256sum", checksum, str(source)) == 0
    assert "Successfully installed plugin zipped, version 1.0.0" in capsys.readouterr().out
    folder = directory.plugins / "zipped"
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "notation-zipped", "version"]
    refused(capsys, "version 1.0.0 already exists", 1, "plugin", "install", "--file", str(source))
    refused(capsys, "expected 00", 4, "plugin", "install", "--file", "--sha256sum", "00", str(source))
    newer = packed(tmp_path, form, {"notation-zipped": (program, 0o755), "version": (b"1.1.0", 0o644)})
    assert notation("plugin", "add", "--file", str(newer)) == 0
    assert "Successfully updated plugin zipped from version 1.0.0 to 1.1.0" in capsys.readouterr().out
    assert not (folder / "LICENSE").exists()
    older = packed(tmp_path, form, {"notation-zipped": (program, 0o755), "version": (b"0.9.0", 0o644)})
    refused(capsys, "0.9.0 is lower than the existing plugin version 1.1.0", 1, "plugin", "install", "--file",
            str(older))
    assert notation("plugin", "install", "--file", "--force", str(older)) == 0
    assert list(directory.libexec.glob(".plugin-*")) == []


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
@pytest.mark.parametrize(("members", "reason"), [
    ({"README": 0o644}, "got 'no program', expected one executable"),
    ({"notation-a": 0o755, "notation-b": 0o755}, "got 'notation-a, notation-b', expected one executable"),
    ({"../notation-zipped": 0o755}, "names without '..'"),
    ({"notation-other": 0o755}, "name: got 'else', expected other"),
])
def test_an_archive_that_is_no_plugin(directory: Directory, tmp_path: Path, program: bytes, form: str,
                                      members: dict[str, int], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = program.replace(b'"stranger" if lie == "name" else NAME', b'"else"')
    source = packed(tmp_path, form, {name: (program, mode) for name, mode in members.items()})
    if form == "tar.gz":  # whose names are looked at as those of images' layers
        reason = reason.replace("names without '..'", "one below its root")
    refused(capsys, reason, 2, "plugin", "install", "--file", str(source))
    assert not directory.plugins.exists()
    assert not (tmp_path / "notation-zipped").exists()


def test_a_program_without_permission(directory: Directory, tmp_path: Path, program: bytes,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    """One file alone is refused, and the only one of an archive is given it: as notation has it."""
    alone = tmp_path / "notation-zipped"
    alone.write_bytes(program)
    refused(capsys, "is not executable", 2, "plugin", "install", "--file", str(alone))
    assert notation("plugin", "install", "--file",
                    str(packed(tmp_path, "zip", {"notation-zipped": (program, 0o644)}))) == 0
    assert "was given it" in capsys.readouterr().err


def test_sources_of_plugins(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "--file and --url: got none", 2, "plugin", "install", "x")
    refused(capsys, "--file and --url: got both", 2, "plugin", "install", "--file", "--url", "x")
    refused(capsys, "got no --sha256sum", 2, "plugin", "install", "--url", "https://plugins.example/x")
    refused(capsys, "only the HTTPS scheme", 2, "plugin", "install", "--url", "--sha256sum", "00",
            "http://plugins.example/x")
    refused(capsys, "No such file", 2, "plugin", "install", "--file", "absent")
    refused(capsys, "no file", 2, "plugin", "install", "--file", str(tmp_path))
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"\x1f\x8b" + b"x" * 100)
    refused(capsys, "expected a zip or tar.gz archive", 2, "plugin", "install", "--file", str(broken))
    broken.write_bytes(b"PK\x03\x04" + b"x" * 100)
    refused(capsys, "expected a zip or tar.gz archive", 2, "plugin", "install", "--file", str(broken))
    refused(capsys, "unable to find plugin absent", 6, "plugin", "uninstall", "-y", "absent")


def test_a_plugin_of_a_server(directory: Directory, tmp_path: Path, program: bytes) -> None:
    source = packed(tmp_path, "zip", {"notation-zipped": (program, 0o755)}).read_bytes()
    authority = Authority("servers")
    for name, data in zip(("server.crt", "server.key"), authority.leaf(), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    checksum = hashlib.sha256(source).hexdigest()

    def install(url: str, checksum: str = checksum) -> subprocess.CompletedProcess[str]:
        return custody("notation", "plugin", "install", "--url", url, "--sha256sum", checksum, cwd=tmp_path,
                       SSL_CERT_FILE=str(tmp_path / "ca.pem"), **{name: value for name, value in environment(
                           directory).items() if name.startswith("NOTATION_")})

    async def file(_request: Request) -> Response:
        return Response(source)

    async def away(request: Request) -> Response:
        return RedirectResponse("/plugin.zip" if request.url.path == "/moved" else "http://127.0.0.1:1/plugin.zip")

    app = Starlette(routes=[Route("/plugin.zip", file), Route("/moved", away), Route("/away", away)])
    with served(app, certificate=tmp_path / "server.crt", key=tmp_path / "server.key") as url:
        for path, given, reason in (("/away", checksum, "redirected to what is not HTTPS"),
                                    ("/absent", checksum, "answered 404"), ("/plugin.zip", "0" * 64, "expected 0000")):
            done = install(url + path, given)
            assert done.returncode != 0
            assert reason in done.stderr
            assert not directory.plugins.exists()
        done = install(f"{url}/moved")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"Downloading plugin from {url}/moved", "Download completed",
                                        "Successfully installed plugin zipped, version 1.2.3"]


def test_an_archive_that_unpacks_without_end(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("custody.services.plugininstall.MAX_BYTES", 1 << 20)
    for form in ("zip", "tar.gz"):
        source = packed(tmp_path, form, {"notation-x": (bytes(2 << 20), 0o755)})
        if form == "zip":
            with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("notation-x", bytes(2 << 20))
        refused(capsys, "expected less than 1048576 in all", 2, "plugin", "install", "--file", str(source))
    assert list(directory.libexec.glob(".plugin-*")) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("broken", [False, True])
def test_members_packed_as_go_does_not_read_them(directory: Directory, tmp_path: Path, method: int, broken: bool,
                                                 program: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "plugin.zip"
    with zipfile.ZipFile(source, "w", method) as archive:
        archive.writestr("notation-zipped", program)
    if broken:
        data = bytearray(source.read_bytes())
        data[60:200] = bytes(140)
        source.write_bytes(data)
    refused(capsys, "neither stored nor deflated", 2, "plugin", "install", "--file", str(source))


@pytest.mark.parametrize(("at", "value", "reason"), [
    (14, b"\1\2\3\4", ""),  # the checksum in front of the member, which nobody believes
    (-22 - 61 + 16, b"\1\2\3\4", "notation-zipped has another checksum"),
    (-22 - 61 + 8, b"\1", "encrypted, or neither stored"),
    (-22 - 61 + 24, b"\1\0\0\0", "more bytes than its directory says"),
    (-22 + 10, b"\7", "a directory of 7 members that has 1"),
    (-22 + 12, b"\xff\xff\xff\1", "a directory of 33554431 bytes")])
def test_a_zip_that_lies(directory: Directory, tmp_path: Path, program: bytes, at: int, value: bytes, reason: str,
                         capsys: pytest.CaptureFixture[str]) -> None:
    source = packed(tmp_path, "zip", {"notation-zipped": (program, 0o755)})
    data = bytearray(source.read_bytes())
    place = at if at >= 0 else len(data) + at
    data[place:place + len(value)] = value
    source.write_bytes(data)
    if reason:
        refused(capsys, reason, 2, "plugin", "install", "--file", str(source))
        assert not directory.plugins.exists()
    else:
        assert notation("plugin", "install", "--file", str(source)) == 0


def test_a_zip_of_many_members(directory: Directory, tmp_path: Path, program: bytes,
                               capsys: pytest.CaptureFixture[str]) -> None:
    source = packed(tmp_path, "zip", {"notation-zipped": (program, 0o755)} | {
        f"{number}/x": (b"", 0o644) for number in range(999)})
    assert notation("plugin", "install", "--file", str(source)) == 0
    source = packed(tmp_path, "zip", {f"{number}/x": (b"", 0o644) for number in range(1001)})
    refused(capsys, "got 'too many members', expected at most 1000", 2, "plugin", "install", "--file", str(source))
    with zipfile.ZipFile(source, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number}/".ljust(1000, "x"), b"")
    tracemalloc.start()
    refused(capsys, "a directory of 31380000 bytes", 2, "plugin", "install", "--file", str(source))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_headers_without_end(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    """What an archive says beside its files counts too: names, and files that are not unpacked."""
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 8 << 20
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "x"
    named = tarfile.TarInfo("a" * 200_000)
    monkeypatch.setattr("custody.services.plugininstall.MAX_BYTES", 1 << 20)
    monkeypatch.setattr("custody.services.plugininstall._MAX_HEADERS", 1 << 20)
    for parts, reason in (((long.tobuf(tarfile.GNU_FORMAT), b"a" * long.size), "an extended header of 8388608 bytes"),
                          ((named.tobuf(tarfile.GNU_FORMAT),), "a name of 200000 bytes"),
                          ((link.tobuf(),) * 2000, "more than 1000 entries"),
                          ((link.tobuf(), bytes(1024), bytes(4 << 20)), ""),
                          ((_folder_of(4 << 20),), "expected less than 1048576 in all")):
        source = tmp_path / "long.tar.gz"
        source.write_bytes(gzip.compress(b"".join(parts) + bytes(1024)))
        refused(capsys, reason or "no program", 2, "plugin", "install", "--file", str(source))
    tracemalloc.start()
    source.write_bytes(gzip.compress(long.tobuf(tarfile.GNU_FORMAT) + b"a" * long.size, 1))
    tracemalloc.reset_peak()
    refused(capsys, "expected at most 1 MiB", 2, "plugin", "install", "--file", str(source))
    assert tracemalloc.get_traced_memory()[1] - tracemalloc.get_traced_memory()[0] < 6 << 20
    tracemalloc.stop()


def _folder_of(size: int) -> bytes:
    """A header of a type that is not unpacked, and bytes that the archive says are its."""
    member = tarfile.TarInfo("global")
    member.type, member.size = tarfile.REGTYPE, size
    return member.tobuf() + bytes(size)


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_long_names_are_shown_in_short(directory: Directory, tmp_path: Path, form: str,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    for name, reason in (("a" * 4000, "got 'File name too long'"), ("a.." + "a" * 4000, "names without '..'")):
        source = packed(tmp_path, form, {name: (b"x", 0o644)})
        assert notation("plugin", "install", "--file", str(source)) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert "a" * 50 in error
        assert "a" * 61 not in error


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_update_that_is_interrupted(directory: Directory, tmp_path: Path, program: bytes, failure: Any,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renamings: the plugin that was there is there again."""
    source = packed(tmp_path, "zip", {"notation-zipped": (program, 0o755), "LICENSE": (b"old", 0o644)})
    assert notation("plugin", "install", "--file", str(source)) == 0
    source = packed(tmp_path, "zip", {"notation-zipped": (program, 0o755), "LICENSE": (b"new", 0o644)})
    real, count = Path.rename, 0

    def rename(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == 2:
            raise failure
        return real(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises((KeyboardInterrupt, UsageError)) as ended:
            plugininstall.install(directory, source, SystemPrograms(), force=True)
    assert failure is KeyboardInterrupt or "No space left" in str(ended.value)
    assert (directory.plugins / "zipped" / "LICENSE").read_bytes() == b"old"
    assert list(directory.libexec.glob(".plugin-*")) == []
    assert notation("plugin", "install", "--file", "--force", str(source)) == 0
    assert (directory.plugins / "zipped" / "LICENSE").read_bytes() == b"new"


def test_plugins_that_do_not_answer_are_listed(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(directory)
    install_plugin(directory, "liar").with_name("lie").write_text("garbage")
    assert notation("plugin", "ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR"]
    assert lines[1].startswith("liar ")
    assert "one JSON document" in lines[1]
    assert lines[2].split() == ["try", "keys", "in", "files", "1.2.3", "[SIGNATURE_GENERATOR.RAW]", "<nil>"]


def test_uninstalling_asks(directory: Directory, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin(directory)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert notation("plugin", "uninstall", "try") == 0
    assert "Operation cancelled." in capsys.readouterr().out
    assert directory.plugin("try").exists()
    assert notation("plugin", "rm", "--yes", "try") == 0
    assert not directory.plugin("try").parent.exists()


# Logins


HELPER = """#!{python}
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept.json")
held = json.loads(kept.read_text()) if kept.exists() else {{}}
given = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(given)
    held[entry["ServerURL"]] = entry
elif sys.argv[1] == "erase":
    held.pop(given.strip())
elif given.strip() in held:
    print(json.dumps(held[given.strip()]))
else:
    print("credentials not found in native keychain")
    sys.exit(1)
kept.write_text(json.dumps(held))
"""


@pytest.fixture
def helper(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "helpers"
    folder.mkdir()
    (folder / "docker-credential-own").write_text(HELPER.format(python=sys.executable))
    (folder / "docker-credential-own").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    directory.config_file.write_text('{"credsStore":"own"}')
    return folder / "kept.json"


def test_login_and_logout(directory: Directory, helper: Path, monkeypatch: pytest.MonkeyPatch,
                          capsys: pytest.CaptureFixture[str]) -> None:
    with odd(auth="basic") as registry:
        refused(capsys, "401", 5, "login", "-u", "ann", "-p", "wrong", registry.host)
        assert not helper.exists() or registry.host not in helper.read_text()
        assert notation("login", "-u", "ann", "-p", "secret", registry.host) == 0
        assert capsys.readouterr().out == "Login Succeeded\n"
        kept = json.loads(helper.read_text())
        assert kept[registry.host] == {"ServerURL": registry.host, "Username": "ann", "Secret": "secret"}
        monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
        assert notation("login", "-u", "ann", "--password-stdin", registry.host) == 0
        monkeypatch.setenv("NOTATION_USERNAME", "ann")
        monkeypatch.setenv("NOTATION_PASSWORD", "secret")
        assert notation("login", registry.host) == 0
        monkeypatch.delenv("NOTATION_USERNAME")
        monkeypatch.delenv("NOTATION_PASSWORD")
        assert notation("logout", registry.host) == 0
        assert json.loads(helper.read_text()) == {}
        refused(capsys, "ended with", 5, "logout", registry.host)


def test_no_password(directory: Directory, helper: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused(capsys, "password required", 2, "login", "-u", "ann", "--password-stdin", "127.0.0.1:1")


def test_a_login_that_nobody_keeps(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with odd(auth="basic") as registry:
        refused(capsys, "a credentials store is required", 2, "login", "-u", "ann", "-p", "secret", registry.host)
        directory.config_file.write_text(json.dumps({"auths": {registry.host: {"auth": "YW5uOnNlY3JldA=="}}}))
        assert notation("login", "-u", "ann", "-p", "secret", registry.host) == 0
        assert "Authenticated with existing credentials" in capsys.readouterr().out
        assert notation("logout", registry.host) == 0
        assert json.loads(directory.config_file.read_text()) == {"auths": {}}


def test_signing_with_a_login(directory: Directory, helper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with odd(auth="basic") as registry:
        helper.write_text(json.dumps({registry.host: {"ServerURL": "x", "Username": "ann", "Secret": "secret"}}))
        digest = registry.image("app")
        assert notation("sign", f"{registry.host}/app@{digest}") == 0
        helper.write_text("{}")
        refused(capsys, "wants credentials", 5, "sign", f"{registry.host}/app@{digest}")
        assert notation("sign", "-u", "ann", "-p", "secret", f"{registry.host}/app@{digest}") == 0
        refused(capsys, "401", 5, "sign", "-u", "ann", "-p", "no", f"{registry.host}/app@{digest}")


def test_the_certificate_of_an_authority_of_time(directory: Directory, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leaf.pem").write_bytes(pem(chain_of("EC-256")[0]))
    layout(tmp_path / "image")
    refused(capsys, "is no root certificate", 2, "sign", "--timestamp-url", "http://127.0.0.1:1", "--oci-layout",
            "--timestamp-root-cert", "leaf.pem", "image:v1")
