"""Logins at registries as `notation` looks for them: its own config.json first, then the files of containers' tools.

config.json names credential helpers (`credsStore`, `credHelpers`) as Docker's does, and may hold `auths`. Where it
has any of these, it alone counts. (oras-go `registry/remote/credentials`.)
"""

from __future__ import annotations

from custody.kit import strictjson
from custody.registry.credentials import Ask, Credential, credential_of, find_credential
from custody.sign.notary.directory import Directory, read_document

_KEYS = ("credsStore", "credHelpers", "auths")


def find_login(directory: Directory, host: str, repository: str, ask: Ask) -> Credential | None:
    """The login for a repository of a host, or None; may run a helper for seconds.

    Raises MalformedError, AuthenticationError for a file or helper that is broken.
    """
    document = read_document(directory.config_file)
    if document is not None:
        parsed = strictjson.loads(document, str(directory.config_file))
        if isinstance(parsed, dict) and any(parsed.get(key) for key in _KEYS):
            return credential_of(str(directory.config_file), parsed, host, repository, ask)
    return find_credential(host, repository, ask=ask)
