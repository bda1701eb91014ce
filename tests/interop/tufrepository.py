"""A TUF repository in a folder (theupdateframework.github.io), for clients that take a trusted root in no other way."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

_ROLES = ("root", "timestamp", "snapshot", "targets")


def write(folder: Path, targets: dict[str, bytes]) -> Path:
    """One version of everything, signed by one key. The path of the root is returned that clients begin with."""
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    signer = CryptoSigner.generate_ecdsa()
    root = Root(expires=expires, consistent_snapshot=True,
                roles={name: Role([signer.public_key.keyid], 1) for name in _ROLES},
                keys={signer.public_key.keyid: signer.public_key})
    listed = Targets(expires=expires)
    (folder / "targets").mkdir(parents=True)
    for name, content in targets.items():
        listed.targets[name] = TargetFile.from_data(name, content, ["sha256"])
        (folder / "targets" / f"{hashlib.sha256(content).hexdigest()}.{name}").write_bytes(content)
    for name, signed in (("1.root", root), ("1.targets", listed),
                         ("1.snapshot", Snapshot(expires=expires, meta={"targets.json": MetaFile(1)})),
                         ("timestamp", Timestamp(expires=expires, snapshot_meta=MetaFile(1)))):
        metadata = Metadata(signed)
        metadata.sign(signer)
        (folder / f"{name}.json").write_bytes(metadata.to_bytes(JSONSerializer()))
    return folder / "1.root.json"
