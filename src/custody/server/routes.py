"""Which repository a path of the registry is about: one pattern, for those who answer and for those who let in."""

from __future__ import annotations

import re

ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?:blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<blob>[^/]+)|"
                   r"manifests/(?P<reference>[^/]+)|(?P<tags>tags/list)|referrers/(?P<subject>[^/]+))\Z")
