"""Cosign's vulnerability scan record, the predicate of `https://cosign.sigstore.dev/attestation/vuln/v1`.

Cosign's specs/COSIGN_VULN_ATTESTATION_SPEC.md; `scanner` is one object, as cosign's code and Trivy write it, and
`result` has Trivy's shape, which is what published admission policies look into, and beside Trivy's keys a `coverage`
object of custody's own, whose `gaps` are empty where everything was scanned (docs/guides/contents.md).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from custody.kit.clock import format_rfc3339

PREDICATE_TYPE = "https://cosign.sigstore.dev/attestation/vuln/v1"


def predicate(*, scanner_uri: str, scanner_version: str, db_uri: str, db_version: str, result: dict[str, Any],
              started: datetime, finished: datetime, parameters: list[str] | None = None) -> dict[str, Any]:
    return {"invocation": {"parameters": parameters, "uri": "", "event_id": "", "builder.id": ""},
            "scanner": {"uri": scanner_uri, "version": scanner_version, "db": {"uri": db_uri, "version": db_version},
                        "result": result},
            "metadata": {"scanStartedOn": format_rfc3339(started), "scanFinishedOn": format_rfc3339(finished)}}
