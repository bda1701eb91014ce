"""The demonstration's world around a small image, for tests: real services on loopback, nothing from the network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from custody.build.definition import Image
from custody.build.image import write_image
from custody.build.limits import Limits
from custody.build.output import read_output
from custody.demo.story import Chain, tell_from_image
from custody.demo.tell import Teller
from custody.demo.world import World, opened

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n"


def small_image(folder: Path) -> Path:
    """An OCI layout with a few Python packages in it."""
    site = folder / "tree" / "1-packages" / "app" / "site-packages"
    for name, version in (("flask", "3.1.3"), ("gunicorn", "27.0.1"), ("urllib3", "2.8.0")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(METADATA.format(name=name, version=version))
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n")
    layers = read_output(folder / "tree", Limits())
    write_image(layers, Image(entrypoint=["python3"]), 1_700_000_000, folder / "layout", "1")
    return folder / "layout"


@contextlib.asynccontextmanager
async def small_world(folder: Path, layout: Path | None = None) -> AsyncIterator[tuple[World, Chain, Teller]]:
    """The good image, with all its evidence, admitted."""

    def policies(place: Path) -> list[Path]:
        shop = [path for path in sorted((place / "shop").glob("*.yaml")) if path.name != "built.yaml"]
        return [place / "require-signed-images.yaml", place / "restrict-registries.yaml",
                place / "notarised.yaml", *shop]

    layout = layout or small_image(folder / "image")
    teller = Teller(quiet=True)
    async with opened(folder, policies=policies) as world:
        yield world, await tell_from_image(world, teller, f"oci:{layout}", folder / "cache"), teller
