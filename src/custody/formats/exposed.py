"""What is wrong with an image beyond its packages: a secret that is in it, a setting that is risky."""

from __future__ import annotations

from typing import Literal

import msgspec


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """One secret at one place, or one kind of setting; never the secret itself."""

    kind: Literal["secret", "setting"]
    id: str
    """Of the rule: `github-token`, `root-user`."""
    title: str
    severity: str
    """In the words of `vulns.severity.Severity`."""
    message: str
    """What is there; a secret is masked."""
    remedy: str
    path: str = ""
    """Without a leading slash; of the image's configuration, `config: Env` and the like."""
    line: int = 0
    """From 1; 0 where it is no place in a text."""
    layer: str = ""
    """Digest of the layer blob; empty for a folder and for the configuration."""
    removed_in: str = ""
    """The layer that deletes or replaces the file, which is still in `layer` for everyone who pulls the image."""
    count: int = 1
    """Files of which the setting is true."""
