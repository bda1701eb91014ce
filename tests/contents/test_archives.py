"""Archives with an image in them, and layouts with several: which image is read, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from custody.errors import CustodyError, MalformedError, UsageError, VerificationError
from custody.kit.digest import sha256
from custody.registry.image import Image, open_archive, open_layout
from custody.sbom.catalog import catalog
from custody.services.stored import split_layout
from tests.contents.images import layout, tar

_INDEX = "application/vnd.oci.image.index.v1+json"


def package(name: str) -> bytes:
    return tar([(f"{name}/package.json", b'{"name":"%s","version":"1"}' % name.encode())])


def packages(image: Image) -> set[str]:
    return {found.name for found in catalog(image).packages}


def docker(layers: dict[str, bytes], *, tags: list[str] | None = None, links: dict[str, str] | None = None,
           change: dict[str, Any] | None = None, config_name: str | None = None) -> list[Any]:
    """The members of an archive as `docker save` writes it."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {
        "type": "layers", "diff_ids": [sha256(data) for data in layers.values()]}}).encode()
    name = config_name or sha256(config)[7:] + ".json"
    image = {"Config": name, "RepoTags": tags or ["docker.io/library/x:1"], "Layers": list(layers), **(change or {})}
    return [*((path, data) for path, data in layers.items() if path not in (links or {})), (name, config),
            *((path, ("symlink", target)) for path, target in (links or {}).items()),
            ("manifest.json", json.dumps([image]).encode())]


def write(path: Path, members: list[Any]) -> Path:
    path.write_bytes(tar(members))
    return path


def test_docker_archive(tmp_path: Path) -> None:
    layers = {"0a/layer.tar": package("c"), "0b/layer.tar": package("d")}
    members = docker(layers, links={"0b/layer.tar": "../0c.tar"})
    path = write(tmp_path / "da.tar", [*members, ("0c.tar", layers["0b/layer.tar"])])
    image = open_archive(path)
    assert packages(image) == {"c", "d"}
    assert image.descriptor.digest == sha256(dict(members)[members[1][0]])
    for name in ("x:1", "docker.io/library/x:1", "library/x:1", image.descriptor.digest):
        assert packages(open_archive(path, name)) == {"c", "d"}
    with pytest.raises(UsageError, match=r"no image 'x'; it has docker\.io/library/x:1"):
        open_archive(path, "x")
    image_id = image.descriptor.digest[7:]
    assert packages(open_archive(path, image_id[:12])) == {"c", "d"}
    for name in (image_id[0], image_id[1:14], image_id[:11]):  # a name that is in an ID by chance names no image
        with pytest.raises(UsageError, match=f"no image '{name}'"):
            open_archive(path, name)
    with pytest.raises(VerificationError, match="asked for linux/arm64"):
        open_archive(path, None, "linux/arm64")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_archives(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "a"
    path.write_bytes(pack(tar(docker({"l.tar": package("c")}))))
    assert packages(open_archive(path)) == {"c"}
    path.write_bytes(pack(tar(docker({"l.tar.gz": package("c")})))[:-9])
    with pytest.raises(CustodyError, match=r"whole gzip or Zstandard file|a whole tar|neither oci-layout nor"):
        open_archive(path)


def test_compressed_layers_of_docker_archives(tmp_path: Path) -> None:
    members = [(name, gzip.compress(data) if name == "l.tar.gz" and isinstance(data, bytes) else data)
               for name, data in docker({"l.tar.gz": package("c")})]
    assert packages(open_archive(write(tmp_path / "a", members))) == {"c"}


@pytest.mark.parametrize(("change", "reason"), [
    ({"Layers": []}, "0 layers"), ({"Layers": ["l.tar", "l.tar"]}, "2 layers"),
    ({"Layers": ["m.tar"]}, "no m.tar inside"),
    ({"Config": 1}, "expected Config, a text"), ({"RepoTags": "x"}, "RepoTags and Layers, lists of texts"),
    ({"Config": "../../etc/passwd"}, "no etc/passwd inside")])
def test_what_manifest_json_gets_wrong(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        open_archive(write(tmp_path / "a", docker({"l.tar": package("c")}, change=change)))


def test_digests_of_docker_archives(tmp_path: Path) -> None:
    good = docker({"l.tar": package("c")})
    other = [(name, package("e") if name == "l.tar" else data) for name, data in good]
    with pytest.raises(VerificationError, match="blob"):
        catalog(open_archive(write(tmp_path / "layer", other)))
    with pytest.raises(VerificationError, match="has the digest"):
        open_archive(write(tmp_path / "config", docker({"l.tar": package("c")}, config_name="0" * 64 + ".json")))


def test_archives_that_readers_read_differently(tmp_path: Path) -> None:
    good = docker({"l.tar": package("c")})
    for name in ("manifest.json", "l.tar"):
        with pytest.raises(MalformedError, match="two members of one name"):
            open_archive(write(tmp_path / "a", [*good, (name, dict(good)[name])]))
    with pytest.raises(MalformedError, match="more than 16 links"):
        open_archive(write(tmp_path / "a", docker({"l.tar": b""}, links={"l.tar": "l.tar"})))
    layout(tmp_path / "i", [package("d")])
    files = [(str(file.relative_to(tmp_path / "i")), file.read_bytes()) for file in (tmp_path / "i").rglob("*")
             if file.is_file()]
    assert packages(open_archive(write(tmp_path / "b", files))) == {"d"}
    with pytest.raises(VerificationError, match=r"manifest\.json names"):
        open_archive(write(tmp_path / "b", [*files, *good]))
    with pytest.raises(UsageError, match=r"neither oci-layout nor manifest\.json"):
        open_archive(write(tmp_path / "c", [("x", b"")]))


def test_two_images_in_one_archive(tmp_path: Path) -> None:
    one, two = docker({"1.tar": package("c")}, tags=["a:1"]), docker({"2.tar": package("d")}, tags=["b:1", "b:2"])
    both = json.loads(dict(one)["manifest.json"]) + json.loads(dict(two)["manifest.json"])
    path = write(tmp_path / "a", [*one[:-1], *two[:-1], ("manifest.json", json.dumps(both).encode())])
    assert (packages(open_archive(path, "a:1")), packages(open_archive(path, "b:2"))) == ({"c"}, {"d"})
    with pytest.raises(UsageError, match="holds 2 images: a:1, b:1, b:2"):
        open_archive(path)


def test_an_archive_is_read_by_many_threads(tmp_path: Path) -> None:
    layers = {f"{place}.tar": tar([("pad", bytes([place]) * 3_000_000), (f"{place}/package.json",
              b'{"name":"n%d","version":"1"}' % place)]) for place in range(6)}
    assert len(packages(open_archive(write(tmp_path / "a", docker(layers))))) == 6


def _platforms(folder: Path, names: list[str], nested: int = 0, ref: str | None = None) -> Path:
    """A layout that lists an image for each platform, in so many indexes."""
    entries = []
    for name in names:
        made = layout(folder / name.replace("/", "-"), [package(name.replace("/", "-"))])
        [entry] = json.loads((made / "index.json").read_text())["manifests"]
        manifest = json.loads((made / "blobs/sha256" / entry["digest"][7:]).read_text())
        system, architecture = name.split("/")
        config = json.loads((made / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
        config.update(os=system, architecture=architecture)
        manifest["config"].update(_put(made, config))
        entry.update(_put(made, manifest))
        entry["platform"] = {"os": system, "architecture": architecture}
        entries.append(entry)
        shutil.copytree(made / "blobs", folder / "blobs", dirs_exist_ok=True)
    for _ in range(nested):
        body = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        entries = [{"mediaType": _INDEX, **_put(folder, body)}]
    if ref:
        entries[0]["annotations"] = {"org.opencontainers.image.ref.name": ref}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def _put(folder: Path, document: object) -> dict[str, Any]:
    body = json.dumps(document).encode()
    (folder / "blobs/sha256" / sha256(body)[7:]).write_bytes(body)
    return {"digest": sha256(body), "size": len(body)}


@pytest.mark.parametrize("nested", [0, 1, 2, 3])
def test_layout_platform_through_indexes(tmp_path: Path, nested: int) -> None:
    folder = _platforms(tmp_path / "plat", ["linux/arm64", "linux/amd64"], nested, "v1" if nested else None)
    assert packages(open_layout(folder, None, "linux/amd64")) == packages(open_layout(folder)) == {"linux-amd64"}
    assert packages(open_layout(folder, None, "linux/arm64")) == {"linux-arm64"}
    with pytest.raises(UsageError, match="no such platform: linux/s390x; it has linux/arm64, linux/amd64"):
        open_layout(folder, None, "linux/s390x")
    if nested:
        assert packages(open_layout(folder, "v1", "linux/arm64")) == {"linux-arm64"}
        with pytest.raises(UsageError, match=r"no image 'v2'; it has v1 \(linux/arm64\), v1 \(linux/amd64\)"):
            open_layout(folder, "v2")


def test_one_platform_that_is_not_the_one_asked_for(tmp_path: Path) -> None:
    folder = _platforms(tmp_path / "plat", ["linux/arm64"])
    assert packages(open_layout(folder)) == {"linux-arm64"}
    with pytest.raises(UsageError, match="no such platform: linux/amd64; it has linux/arm64"):
        open_layout(folder, None, "linux/amd64")


def test_indexes_in_each_other_end(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="more than 3 indexes in each other"):
        open_layout(_platforms(tmp_path / "plat", ["linux/arm64"], 4))


def test_two_images_of_one_platform_are_named(tmp_path: Path) -> None:
    folder = _platforms(tmp_path / "plat", ["linux/amd64"])
    index = json.loads((folder / "index.json").read_text())
    other = _platforms(tmp_path / "other", ["linux/amd64", "linux/arm64"])
    [second, third] = json.loads((other / "index.json").read_text())["manifests"]
    manifest = json.loads((folder / "blobs/sha256" / second["digest"][7:]).read_text())
    shutil.copytree(other / "blobs", folder / "blobs", dirs_exist_ok=True)
    second.update(_put(folder, {**manifest, "annotations": {"a": "b"}}))
    for entry, name in zip((index["manifests"][0], second, third), ("1", "2", "3"), strict=True):
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    index["manifests"] += [second, third]
    (folder / "index.json").write_text(json.dumps(index))
    assert packages(open_layout(folder, "2")) == {"linux-amd64"}
    assert packages(open_layout(folder, None, "linux/arm64")) == {"linux-arm64"}
    with pytest.raises(UsageError, match=r"more than one image of linux/amd64: 1 .*, 2 .*, 3"):
        open_layout(folder)


def test_paths_and_names_of_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.tar", "with:colon"):
        Path(name).write_bytes(b"")
    for text, path, name in (("x.tar", "x.tar", None), ("x.tar:a", "x.tar", "a"),
                             ("x.tar:r.io/a:1", "x.tar", "r.io/a:1"),
                             ("with:colon", "with:colon", None), ("with:colon:b", "with:colon", "b"),
                             ("none:v1", "none", "v1"), ("none", "none", None)):
        assert split_layout(text) == (Path(path), name)


def test_what_skopeo_writes(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("peer skopeo is not installed")
    layout(tmp_path / "i", [package("c"), package("d")])
    for form in ("docker-archive", "oci-archive"):
        target = f"{form}:{tmp_path / form}:reg.example/app:2"
        done = subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path / 'i'}", target],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert packages(open_archive(tmp_path / form, "reg.example/app:2")) == {"c", "d"}
        assert packages(open_archive(tmp_path / form)) == {"c", "d"}


def test_members_are_named_as_go_names_them(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in docker({"./deep//" + "d/" * 60 + "l.tar": package("c")}):
            info = tarfile.TarInfo(name)
            assert isinstance(content, bytes)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "a").write_bytes(data.getvalue())
    assert packages(open_archive(tmp_path / "a")) == {"c"}


def test_a_pipe_is_no_archive_and_no_blob(tmp_path: Path) -> None:
    """Opening one would wait for ever for whoever writes into it."""
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(UsageError, match="no regular file"):
        open_archive(tmp_path / "a.tar")
    os.mkfifo(tmp_path / "oci-layout")
    with pytest.raises(UsageError, match="no regular file"):
        open_layout(tmp_path)
