"""Archives of advisories in a registry, one artifact each: `custody db export` puts them there, `update` takes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from custody.errors import UnsupportedError
from custody.formats import oci
from custody.formats.reference import Reference
from custody.registry.client import RegistryClient
from custody.vulns.archive import MEDIA_TYPE
from custody.vulns.databases.files import database_layer, ending


async def push(client: RegistryClient, ref: Reference, archive: Path) -> oci.Descriptor:
    """Raises UsageError, NetworkError, DeniedError, AuthenticationError."""
    with archive.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    layer = await client.push_blob(ref, archive, oci.Descriptor(MEDIA_TYPE, digest, archive.stat().st_size))
    config = await client.push_blob(ref, b"{}")
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": MEDIA_TYPE,
        "config": {"mediaType": oci.EMPTY, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": MEDIA_TYPE, "digest": layer.digest, "size": layer.size,
                    "annotations": {"org.opencontainers.image.title": archive.name}}]},
        separators=(",", ":")).encode()
    return await client.push_manifest(ref, manifest, oci.MANIFEST, tag=ref.tag)


async def pull(client: RegistryClient, ref: Reference, folder: Path) -> tuple[oci.Descriptor, Path]:
    """The manifest's descriptor, and the archive in the folder: custody's own, or of another scanner's database.

    Raises UnsupportedError for another artifact.
    """
    descriptor, data = await client.manifest(ref)
    manifest = oci.parse_manifest(data, str(ref), descriptor.media_type)
    layers = manifest.layers if isinstance(manifest, oci.Manifest) else ()
    for layer in layers:
        if layer.media_type == MEDIA_TYPE:
            await client.blob_to(ref, layer, path := folder / "advisories.custody")
            return descriptor, path
    if (database := database_layer(layers)) is not None:
        await client.blob_to(ref, database, path := folder / f"database{ending(database)}")
        return descriptor, path
    kinds = [layer.media_type for layer in layers]
    raise UnsupportedError(str(ref), f"has {', '.join(kinds) or 'no layers'}; expected a layer {MEDIA_TYPE}, as "
                           "custody db export writes it, or Trivy's or Grype's database",
                           hint="custody db update, from the publishers' own feeds")
