"""Connection (connection.gatekeeper.sh v1alpha1): where the audit's violations are exported to.

Gatekeeper pkg/export/disk: `path`, `maxAuditResults` (0 to 5), `closedConnectionTTL` (1m to 10m).
"""

from __future__ import annotations

import re
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from policylang.go.durations import parse as duration

GROUP, KIND = "connection.gatekeeper.sh", "Connection"
VERSIONS = ("v1alpha1",)
CONNECTION, CHANNEL = "audit-connection", "audit-channel"
"""Gatekeeper's own names of the Connection that counts, and of what is exported to it."""
CHANNEL_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,252}")
_MOST = 5
_LONGEST, _SHORTEST = 600.0, 60.0  # seconds


class Connection:
    """`path` of the folder, `keep` files of audits at most, `closing` seconds for which its files are tried to be taken
    away once it is gone."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Raises MalformedError, UnsupportedError."""
        fields = Fields(document, "")
        metadata = Fields(fields.need("metadata", dict), "metadata")
        self.name, self.namespace = metadata.need("name", str), metadata.take("namespace", str) or ""
        version = fields.need("apiVersion", str).rpartition("/")[2]
        if version not in VERSIONS:
            raise UnsupportedError("apiVersion", f"{GROUP}/{version} {KIND} is not evaluated by custody yet",
                                   hint=", ".join(VERSIONS) + " is")
        spec = Fields(fields.need("spec", dict), "spec")
        driver = spec.need("driver", str)
        if driver == "dapr":
            raise UnsupportedError("spec.driver", "dapr is not evaluated by custody", hint="disk is")
        if driver != "disk":
            raise MalformedError("spec.driver", got=driver, expected="disk")
        config = Fields(spec.need("config", dict), "spec.config")
        self.path = config.need("path", str)
        if not self.path.startswith("/") or ".." in self.path or "\0" in self.path:
            raise MalformedError("spec.config.path", got=self.path, expected="an absolute path without ..")
        self.keep = config.need("maxAuditResults", int)
        if not 0 <= self.keep <= _MOST:
            raise MalformedError("spec.config.maxAuditResults", got=self.keep, expected=f"0 to {_MOST}")
        text = config.take("closedConnectionTTL", str) or "10m"
        nanoseconds = duration(text)
        self.closing = (nanoseconds or 0) / 1e9
        if not _SHORTEST <= self.closing <= _LONGEST:
            raise MalformedError("spec.config.closedConnectionTTL", got=text, expected="1m to 10m")
        config.done()
        spec.done()


def fault(document: dict[str, Any]) -> str:
    """Why one cannot be carried out; "" where it can."""
    try:
        Connection(document)
    except (MalformedError, UnsupportedError) as error:
        return error.message + (f" ({error.hint})" if error.hint else "")
    return ""
