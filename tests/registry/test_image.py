"""Images of a layout whose index.json lists the platforms itself, as ko and apko write it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custody.errors import UsageError, VerificationError
from custody.formats import oci
from custody.kit.digest import sha256
from custody.registry.image import StoredImage, open_layout


def layout(folder: Path, *images: tuple[str | None, str]) -> Path:
    """One image for each pair of platforms: what index.json says, and what the image says."""
    (folder / "blobs" / "sha256").mkdir(parents=True)

    def put(data: bytes, media_type: str) -> oci.Descriptor:
        (folder / "blobs" / "sha256" / sha256(data)[7:]).write_bytes(data)
        return oci.Descriptor(media_type, sha256(data), len(data))

    entries = []
    for said, true in images:
        document = dict(zip(("os", "architecture", "variant"), true.split("/"), strict=False))
        config = put(json.dumps(document).encode(), oci.CONFIG)
        manifest = put(json.dumps(oci.Manifest(oci.MANIFEST, config, ()).to_json()).encode(), oci.MANIFEST)
        entry = manifest.to_json()
        if said:
            entry["platform"] = dict(zip(("os", "architecture", "variant"), said.split("/"), strict=False))
        entries.append(entry)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return folder


def architecture(image: StoredImage) -> object:
    return image.config.document["architecture"]


def test_layout_platform(tmp_path: Path) -> None:
    folder = layout(tmp_path / "plat", ("linux/arm64/v8", "linux/arm64/v8"), ("linux/amd64", "linux/amd64"))
    assert architecture(open_layout(folder)) == "amd64"
    assert architecture(open_layout(folder, None, "linux/amd64")) == "amd64"
    assert architecture(open_layout(folder, None, "linux/arm64")) == "arm64"
    assert architecture(open_layout(folder, None, "linux/arm64/v8")) == "arm64"
    with pytest.raises(UsageError, match="no such platform: linux/s390x; it has linux/arm64/v8, linux/amd64"):
        open_layout(folder, None, "linux/s390x")


def test_an_index_that_says_another_platform_than_the_image(tmp_path: Path) -> None:
    folder = layout(tmp_path / "lying", ("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64"))
    for platform in (None, "linux/amd64"):
        with pytest.raises(VerificationError, match=r"is an image of linux/arm64 .* asked for linux/amd64"):
            open_layout(folder, None, platform)


def test_one_image_is_of_the_platform_that_is_asked_for(tmp_path: Path) -> None:
    folder = layout(tmp_path / "one", (None, "linux/arm64"))
    assert architecture(open_layout(folder)) == "arm64"
    with pytest.raises(VerificationError, match=r"is an image of linux/arm64 .* asked for linux/s390x"):
        open_layout(folder, None, "linux/s390x")


def test_several_images_without_platforms_are_named(tmp_path: Path) -> None:
    folder = layout(tmp_path / "two", (None, "linux/arm64"), (None, "linux/amd64"))
    with pytest.raises(UsageError, match="holds 2 images"):
        open_layout(folder)


def test_attestations_beside_the_image_have_no_platform(tmp_path: Path) -> None:
    folder = layout(tmp_path / "buildkit", ("linux/amd64", "linux/amd64"), ("unknown/unknown", "unknown/unknown"))
    assert architecture(open_layout(folder)) == "amd64"
