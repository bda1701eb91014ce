"""The only composition root: settings → adapters → stages and services. Above it nobody knows an adapter.

`clients` for what asks others, `local` for files and stores that one command opens, `trust`, `registry` and `admission`
for the roles of a service, and `Platform` for all roles over one data directory. A command pays for what it uses: each
name is imported from its module when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custody.wiring.clients import cluster_client as cluster_client
    from custody.wiring.clients import cluster_lookup as cluster_lookup
    from custody.wiring.clients import command_http as command_http
    from custody.wiring.clients import gatherer as gatherer
    from custody.wiring.clients import key_lookup as key_lookup
    from custody.wiring.clients import kinds as kinds
    from custody.wiring.clients import layout_client as layout_client
    from custody.wiring.clients import max_staple_age as max_staple_age
    from custody.wiring.clients import notary_trust as notary_trust
    from custody.wiring.clients import notify_key as notify_key
    from custody.wiring.clients import others as others
    from custody.wiring.clients import programs as programs
    from custody.wiring.clients import provider_lookup as provider_lookup
    from custody.wiring.clients import registry_client as registry_client
    from custody.wiring.clients import service_http as service_http
    from custody.wiring.clients import signers as signers
    from custody.wiring.clients import trusted_root as trusted_root
    from custody.wiring.clients import trusted_root_file as trusted_root_file
    from custody.wiring.keys import is_kept_elsewhere as is_kept_elsewhere
    from custody.wiring.keys import key_service as key_service
    from custody.wiring.keys import token_module as token_module
    from custody.wiring.local import trust_mirror as trust_mirror
    from custody.wiring.platform import Platform as Platform
    from custody.wiring.trust import TRUST_ROLES as TRUST_ROLES
    from custody.wiring.trust import WORKLOADS as WORKLOADS

_PLACES = {name: place for place, names in {
    "clients": ("cluster_client", "cluster_lookup", "command_http", "gatherer", "key_lookup", "kinds",
                "layout_client", "max_staple_age", "notary_trust", "notify_key", "others", "programs",
                "provider_lookup", "registry_client", "service_http", "signers", "trusted_root", "trusted_root_file"),
    "keys": ("is_kept_elsewhere", "key_service", "token_module"), "local": ("trust_mirror",),
    "platform": ("Platform",), "trust": ("TRUST_ROLES", "WORKLOADS")}.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
