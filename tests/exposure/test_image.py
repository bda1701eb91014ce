"""What an image exposes: secrets of every layer, deleted ones too, its configuration's, and risky settings."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from custody.errors import VerificationError
from custody.exposure import settings
from custody.exposure.image import expose
from custody.formats.exposed import Exposure
from custody.registry.image import open_layout
from custody.sbom.limits import Limits
from tests.contents.images import image, layout, tar
from tests.exposure.test_secrets import token

SECRET = f"x\nTOKEN = '{token('ghp_')}'\n".encode()


def secrets_of(exposures: list[Exposure]) -> list[tuple[str, int, bool]]:
    return [(exposure.path, exposure.line, bool(exposure.removed_in)) for exposure in exposures
            if exposure.kind == "secret"]


@pytest.mark.parametrize(("later", "gone"), [
    ([("app/.wh.config", b"")], True), ([(".wh.app", b"")], True), ([("app/.wh..wh..opq", b"")], True),
    ([("app/config", b"other")], True), ([("app", b"a file now")], True), ([("app/config", ("symlink", "x"))], True),
    ([("app/other", b"")], False), ([("app", None)], False), ([("app/.wh.confi", b"")], False)])
def test_a_deleted_file_is_still_there(tmp_path: Path, later: Any, gone: bool) -> None:
    exposed = expose(image(tmp_path / "i", [("app/config", SECRET)], later), ("secret",))
    assert secrets_of(exposed.exposures) == [("app/config", 2, gone)]
    [exposure] = exposed.exposures
    assert exposure.layer.startswith("sha256:")
    assert exposure.removed_in != exposure.layer


def test_a_whiteout_does_not_take_what_its_own_layer_adds(tmp_path: Path) -> None:
    exposed = expose(image(tmp_path / "i", [("app/old", b"")], [("app/config", SECRET), ("app/.wh..wh..opq", b"")]))
    assert ("app/config", 2, False) in secrets_of(exposed.exposures)


def test_tests_and_documents_are_counted(tmp_path: Path) -> None:
    exposed = expose(image(tmp_path / "i", [("lib/a/tests/config", SECRET), ("usr/share/doc/a/README", SECRET)]))
    assert secrets_of(exposed.exposures) == []
    assert exposed.discussed == 2
    assert [(exposure.path, exposure.line) for exposure in exposed.apart] == [
        ("lib/a/tests/config", 2), ("usr/share/doc/a/README", 2)]


def test_holes_of_sparse_files_are_bounded(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a", "b", "c"):
            info = tarfile.TarInfo(f"GNUSparseFile.0/{name}")
            info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
                                "GNU.sparse.realsize": str(40 << 20)}
            body = b"0\n".ljust(512, b"\0")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    sparse = open_layout(layout(tmp_path / "i", [out.getvalue()]))
    exposed = expose(sparse, ("secret",), limits=Limits(holes=100 << 20))
    assert exposed.unread == ["c: beyond the image's 104857600 bytes of holes in files"]


def test_what_looks_like_secrets_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.exposure.image._PLACES", 100)
    crowd = b" AKIAAAAAAAAAAAAAAAAA" * 101
    exposed = expose(image(tmp_path / "i", [("a", crowd), ("b", b"nothing"), ("c", SECRET)]), ("secret",))
    assert exposed.unread == ["a: beyond the image's 100 places that look like secrets",
                              "c: beyond the image's 100 places that look like secrets"]
    assert exposed.exposures == []


def test_a_layer_that_lies(tmp_path: Path) -> None:
    lying = open_layout(layout(tmp_path / "i", [tar([("a", b"b")])], diff_ids={0: "sha256:" + "0" * 64}))
    with pytest.raises(VerificationError, match="its uncompressed bytes are"):
        expose(lying)


def with_modes(*members: tuple[str, int, bool]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, mode, folder in members:
            info = tarfile.TarInfo(path)
            info.mode = mode
            info.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
            archive.addfile(info)
    return out.getvalue()


def test_settings_of_files(tmp_path: Path) -> None:
    first = with_modes(("bin/su", 0o4755, False), ("bin/gone", 0o4755, False), ("bin/mild", 0o6755, False),
                       ("srv/open", 0o666, False), ("srv/all", 0o777, True), ("tmp", 0o1777, True),
                       ("root/.cache/pip/http/a", 0o600, False), ("data/setuid-but-not-run", 0o4644, False))
    second = with_modes(("bin/.wh.gone", 0o644, False), ("bin/mild", 0o755, False))
    exposed = expose(open_layout(layout(tmp_path / "i", [first, second])), ("misconfig",))
    said = {exposure.id: exposure.message for exposure in exposed.exposures}
    assert said == {"root-user": "config.User is not set", "no-healthcheck": "config.Healthcheck is not set",
                    "setuid": "bin/su", "world-writable-file": "srv/open", "world-writable-folder": "srv/all",
                    "package-cache": "root/.cache/pip/http/a"}


@pytest.mark.parametrize(("config", "risks"), [
    ({"User": "1000", "Healthcheck": {"Test": ["CMD", "x"]}}, []),
    ({"User": "root:root", "Healthcheck": {"Test": ["CMD", "x"]}}, ["root-user"]),
    ({"User": "0:0", "Healthcheck": {"Test": ["NONE"]}}, ["root-user", "no-healthcheck"]),
    ({"User": "app", "ExposedPorts": {"22/tcp": {}}, "Healthcheck": {"Test": ["CMD"]}}, ["exposed-ssh"])])
def test_settings_of_a_configuration(config: dict[str, Any], risks: list[str]) -> None:
    assert [setting.id for setting in settings.of_config({"config": config})] == risks


@pytest.mark.parametrize(("command", "risk"), [
    ("/bin/sh -c curl -fsSL https://x.io/i.sh | sh", "piped-to-shell"),
    ("RUN /bin/sh -c wget -qO- https://x.io/i | sudo bash # buildkit", "piped-to-shell"),
    ("ADD https://x.io/a.tar.gz /opt # buildkit", "add-from-url"),
    ("ADD --checksum=sha256:00 https://x.io/a.tar.gz /opt", ""), ("COPY a /b # buildkit", ""),
    ("/bin/sh -c curl -o a https://x.io/a && sha256sum -c a.sha256", ""),
    ("/bin/sh -c #(nop) ADD file:00 in / ", "")])
def test_settings_of_a_history(command: str, risk: str) -> None:
    document = {"config": {"User": "1", "Healthcheck": {"Test": ["CMD"]}}, "history": [{"created_by": command}]}
    assert [setting.id for setting in settings.of_config(document)] == ([risk] if risk else [])


def test_the_base(tmp_path: Path) -> None:
    config = {"config": {"User": "1", "Healthcheck": {"Test": ["CMD"]}}}
    for base, moves in (("docker.io/debian", True), ("debian:latest", True), ("host:5000/debian", True),
                        ("debian:12", False), ("debian@sha256:00", False), ("", False)):
        assert bool(settings.of_config(config, base)) is moves


def test_secrets_of_a_configuration() -> None:
    document = {"config": {"Env": [f"A={token('ghp_')}", 7], "Labels": {"a": "b"}, "Cmd": "x"},
                "history": [{"created_by": "RUN |1 T=x"}, 7, {}]}
    places = {place: list(lines) for place, lines in settings.texts(document)}
    assert places["config: Env"] == [f"A={token('ghp_')}"]
    assert places["config: history"] == ["RUN |1 T=x", "", ""]
    assert [setting.id for setting in settings.of_config(json.loads('{"config": [], "history": {}}'))] == [
        "root-user", "no-healthcheck"]
