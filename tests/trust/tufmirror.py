"""A TUF repository of python-tuf's making, which can misbehave: whatever is said, it is signed so and written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from custody.kit.clock import system_clock
from custody.trust.material import Endpoints, Material

ROLES = ("root", "targets", "snapshot", "timestamp")


def trust_files(folder: Path, base: str = "https://trust.example") -> dict[str, bytes]:
    """A trusted root and a signing config of services that have keys in `folder`, by the names of targets."""
    material, endpoints = Material(folder, system_clock), Endpoints.at(base)
    return {"trusted_root.json": material.trusted_root(endpoints).to_json(),
            "signing_config.v0.2.json": material.signing_config(endpoints).to_json()}


@dataclass
class Mirror:
    folder: Path
    files: dict[str, bytes]
    threshold: int = 1
    """Of the root role, and how many keys it has."""
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 1))
    days: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 7))
    """Until each role's metadata runs out."""
    online: CryptoSigner = field(default_factory=CryptoSigner.generate_ecdsa)
    roots: list[CryptoSigner] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "targets").mkdir(parents=True, exist_ok=True)
        self.roots = self.roots or [CryptoSigner.generate_ecdsa() for _ in range(self.threshold)]
        self.publish_root(self.roots)
        self.publish()

    @property
    def root(self) -> Path:
        return self.folder / "1.root.json"

    def publish_root(self, signers: Sequence[CryptoSigner]) -> None:
        """Root metadata of the current version and keys, signed by `signers`."""
        root = Root(self.versions["root"], expires=self._until("root"), consistent_snapshot=True)
        for signer in self.roots:
            root.add_key(signer.public_key, "root")
        for role in ROLES[1:]:
            root.add_key(self.online.public_key, role)
        root.roles["root"].threshold = self.threshold
        self._write(f"{root.version}.root.json", Metadata(root), signers)

    def publish(self, *, signer: CryptoSigner | None = None) -> None:
        """All other metadata and the files, the metadata signed by the online key or `signer`."""
        by = [signer or self.online]
        targets = Targets(self.versions["targets"], expires=self._until("targets"))
        for name, data in self.files.items():
            targets.targets[name] = TargetFile.from_data(name, data, ["sha256"])
            self.target(name).write_bytes(data)
        self._write(f"{targets.version}.targets.json", Metadata(targets), by)
        snapshot = Snapshot(self.versions["snapshot"], expires=self._until("snapshot"),
                            meta={"targets.json": MetaFile(targets.version)})
        self._write(f"{snapshot.version}.snapshot.json", Metadata(snapshot), by)
        timestamp = Timestamp(self.versions["timestamp"], expires=self._until("timestamp"),
                              snapshot_meta=MetaFile(snapshot.version))
        self._write("timestamp.json", Metadata(timestamp), by)

    def target(self, name: str) -> Path:
        """Where a file lies."""
        return self.folder / "targets" / f"{hashlib.sha256(self.files[name]).hexdigest()}.{name}"

    def advance(self, *roles: str) -> None:
        """Count these roles' versions up, and publish."""
        for role in roles or ROLES[1:]:
            self.versions[role] += 1
        self.publish()

    def _until(self, role: str) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=self.days[role])

    def _write(self, name: str, metadata: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp],
               signers: Sequence[CryptoSigner]) -> None:
        for signer in signers:
            metadata.sign(signer, append=True)
        (self.folder / name).write_bytes(metadata.to_bytes())
