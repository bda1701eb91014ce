"""The commands: name → (module, section, one line). `custody --help` reads only this, so it imports nothing else."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str, str]] = {
    "sbom": ("custody.cli.sbom", "Contents", "list the packages in an image: CycloneDX, SPDX, table"),
    "scan": ("custody.cli.scan", "Contents", "known vulnerabilities of what is in an image"),
    "db": ("custody.cli.db", "Contents", "the advisories that scan matches with: import, status"),
}

SECTIONS = ("The chain", "Source and build", "Contents", "Sign and verify", "Registry", "Policy", "Services")
