"""The commands: name → (module, section, one line). `custody --help` reads only this, so it imports nothing else."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str, str]] = {
}

SECTIONS = ("The chain", "Source and build", "Contents", "Sign and verify", "Registry", "Policy", "Services")
