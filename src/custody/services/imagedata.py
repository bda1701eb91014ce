"""What Kyverno calls image data: a registry's manifest and config of an image, for policies that ask for them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from custody.errors import CustodyError, NotFoundError
from custody.formats import oci, reference
from custody.formats.reference import Reference
from custody.kit import strictjson
from custody.ports.lookup import Absent, Answer, Answered, Failed
from custody.registry.client import RegistryClient

MAX_LAYERS = 4 * 1024 * 1024
_HUB = {"docker.io": "index.docker.io"}
"""As Kyverno names a registry."""


async def image_data(client: RegistryClient, name: str) -> Answer:
    """The map that `imageRegistry` of a context finds things in; of linux/amd64 where there are several platforms."""
    try:
        return Answered(await _gathered(client, reference.parse(name), name))
    except NotFoundError:
        return Absent()
    except CustodyError as error:
        return Failed(error.message)


async def image_layers(asking: Callable[[Reference], RegistryClient], name: str) -> Answer:
    """The layers of an image that holds small files, as they are stored: at most MAX_LAYERS bytes together."""
    try:
        ref = reference.parse(name)
        client = asking(ref)
        descriptor, manifest = await client.image(ref)
        if sum(layer.size for layer in manifest.layers) > MAX_LAYERS:
            return Failed(f"{ref}: its layers have more than {MAX_LAYERS} bytes")
        pinned = ref.at(descriptor.digest)
        layers = [base64.b64encode(await client.blob(pinned, layer, max_size=MAX_LAYERS)).decode()
                  for layer in manifest.layers]
    except NotFoundError:
        return Absent()
    except CustodyError as error:
        return Failed(error.message)
    return Answered({"digest": descriptor.digest, "layers": layers})


async def _gathered(client: RegistryClient, ref: Reference, name: str) -> dict[str, Any]:
    descriptor, data = await client.manifest(ref)
    listed = None
    if isinstance(oci.parse_manifest(data, str(ref), descriptor.media_type), oci.Index):
        listed = _read(data, str(ref))
    pinned = ref.at(descriptor.digest)
    of_platform, manifest = await client.image(pinned)
    if listed is not None:
        _, data = await client.manifest(ref.at(of_platform.digest))
    config = await client.blob(pinned, manifest.config, max_size=oci.MAX_CONFIG)
    registry = _HUB.get(ref.registry, ref.registry)
    return {"image": name, "resolvedImage": f"{registry}/{ref.repository}@{descriptor.digest}", "registry": registry,
            "repository": ref.repository, "identifier": ref.identifier, "manifestList": listed,
            "manifest": _read(data, str(ref)), "configData": _read(config, f"{ref}: config")}


def _read(data: bytes, where: str) -> Any:
    return strictjson.loads(data, where, max_size=oci.MAX_CONFIG)
