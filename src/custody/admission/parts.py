"""A snapshot as the paths of the webhook ask it: each the policies that its webhook of the configuration is for."""

from __future__ import annotations

import logging

from custody.admission.endpoint import Endpoint
from custody.admission.families import asked_by_path
from custody.policy.snapshot import Snapshot

_LOG = logging.getLogger(__name__)
_ENDPOINTS = 128  # that are remembered; a configuration of custody's has some twenty at most


class Parts:
    """Of one snapshot, made when they are first asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._known: dict[Endpoint, tuple[Snapshot, bool]] = {}
        self._layout: dict[str, frozenset[tuple[str, str]]] | None = None

    @property
    def known(self) -> list[Snapshot]:
        """Those by which paths were asked so far; the whole snapshot where none was."""
        return [part for part, _ in self._known.values()] or [self.snapshot]

    def asked_by(self, endpoint: Endpoint) -> tuple[Snapshot, bool]:
        """The policies that a path asks, and whether the API server was told of them as they are.

        All policies answer where it was not: it could ask for one of a group that it does not know of.
        """
        known = self._known.get(endpoint)
        if known is not None:
            return known
        named = self._named(endpoint)
        if named is not None:
            part = self.snapshot.only(lambda policy: (policy.kind, policy.name) in named), True
        elif endpoint.layout:
            part = self.snapshot, False
        elif not endpoint.division:
            part = self.snapshot, True
        elif not endpoint.made_for(self.snapshot.policies.policies):
            part = self.snapshot, False
        elif endpoint.asks_all:
            part = self.snapshot, True
        else:
            part = self.snapshot.only(endpoint.selects), True
        if named is not None or len(self._known) < _ENDPOINTS:  # a stranger can think of others without end
            said = not all(current for _, current in self._known.values())
            self._known[endpoint] = part
            if not part[1] and not said:
                _LOG.warning("the API server's webhook configuration was made for other policies than are loaded: all "
                             "policies answer /%s, and for some it does not ask at all; apply `custody admission "
                             "config` again", endpoint.path)
        return part

    def _named(self, endpoint: Endpoint) -> frozenset[tuple[str, str]] | None:
        """The policies that a path of Kyverno's is for; None for other paths, and where nothing is laid out for it."""
        if not endpoint.layout:
            return None
        if self._layout is None:
            self._layout = asked_by_path(self.snapshot.policies)
        return self._layout.get(endpoint.layout)
