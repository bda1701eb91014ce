"""Which namespaces are exempt from Gatekeeper's policies now, said in the log and to who asks how custody is.

The API server leaves them alone by itself (`admission.exemption`), so nothing else would tell that nobody judges there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from custody.admission.exemption import LABEL, Exemption
from custody.ports.cluster import ClusterObjects, Object
from custody.services.mirror import Mirror, key_of

_LOG = logging.getLogger(__name__)
_NAMED = 20


class Exempted:
    """Follows the namespaces that carry the label. `never`: those of which nobody is asked anyway."""

    def __init__(self, cluster: ClusterObjects, exemption: Exemption, never: Sequence[str]) -> None:
        self._exemption, self._never = exemption, frozenset(never)
        self._mirror = Mirror(cluster, ["v1"], "Namespace", labels=LABEL, changed=self._changed, stubs=True)

    async def run(self) -> None:
        """Until cancelled; it ends at once where none may be exempt."""
        if self._exemption:
            _LOG.info("%s", self._exemption.note)
            await self._mirror.run()

    @property
    def names(self) -> list[str]:
        """Those that carry the label and may, as far as is known."""
        return sorted(name for _, name in [*self._mirror.objects]
                      if name not in self._never and self._exemption.names_it(name))

    @property
    def note(self) -> str:
        """What who runs custody is to know; "" where no namespace may be exempt."""
        if not self._exemption:
            return ""
        names, failure = self.names, self._mirror.failure
        if not self._mirror.synced.is_set():
            return f"which namespaces are exempt from Gatekeeper's policies is not known{': ' if failure else ''}" \
                   f"{failure or ''}"
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = f"exempt from Gatekeeper's policies: {', '.join(names[:_NAMED]) or 'no namespace'}{rest}"
        return f"{said}, as was known before: {failure}" if failure else said

    def _changed(self, before: Object | None, after: Object | None) -> None:
        name = key_of(after or before or {})[1]
        if (before is not None and after is not None) or name in self._never:
            return
        if not self._exemption.names_it(name):
            if after is not None:
                _LOG.warning("namespace %s carries the label %s and may not: it is judged all the same", name,
                             LABEL)
        elif after is not None:
            _LOG.warning("namespace %s is exempt from Gatekeeper's policies: it carries the label %s", name, LABEL)
        else:
            _LOG.info("namespace %s is not exempt from Gatekeeper's policies any more", name)
