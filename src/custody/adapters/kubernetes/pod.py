"""The API server of the cluster in which this process is a pod, asked as the pod's service account.

Kubernetes documentation, "Accessing the Kubernetes API from a Pod"; client-go's `rest.InClusterConfig`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from custody.adapters.kubernetes.access import Access, token_file
from custody.errors import MalformedError

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def of_pod(environ: Mapping[str, str], folder: Path = FOLDER) -> Access | None:
    """None where this is no pod, or one without a token. Raises MalformedError."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    authority, token = folder / "ca.crt", folder / "token"
    if not host or not port or not token.is_file() or not authority.is_file():
        return None
    try:
        tls = ssl.create_default_context(cafile=str(authority))
    except (ssl.SSLError, OSError) as error:
        raise MalformedError(str(authority), got=str(error), expected="certificates in PEM") from None
    return Access(str(folder), f"https://{f'[{host}]' if ':' in host else host}:{port}", tls, token_file(token))
