"""The SPDX licence identifiers that packages mostly state (spdx.org/licenses); all others are carried as names."""

from __future__ import annotations

import re

_IDENTIFIERS = frozenset((
    "0BSD", "AFL-2.1", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-1.1", "Apache-2.0", "Artistic-1.0",
    "Artistic-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-4-Clause",
    "BSL-1.0", "bzip2-1.0.6", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "CDDL-1.0", "CDDL-1.1",
    "CDLA-Permissive-2.0", "curl", "EPL-1.0", "EPL-2.0", "EUPL-1.2", "FSFAP", "FTL", "GFDL-1.3-only",
    "GPL-1.0-only", "GPL-1.0-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "HPND", "ICU", "ISC", "LGPL-2.0-only", "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later",
    "LGPL-3.0-only", "LGPL-3.0-or-later", "Libpng", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "MS-PL",
    "NCSA", "ODC-By-1.0", "OFL-1.1", "OpenSSL", "PostgreSQL", "PSF-2.0", "Python-2.0", "Python-2.0.1", "Ruby",
    "Sleepycat", "TCL", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "Vim", "W3C", "WTFPL", "X11",
    "Zlib", "ZPL-2.1", "Apache-1.0", "LLVM-exception", "GCC-exception-3.1", "Classpath-exception-2.0",
    "OpenSSL-exception",
))
_WORD = re.compile(r"[()]|[^\s()]+")


def is_identifier(text: str) -> bool:
    return text in _IDENTIFIERS


def is_expression(text: str) -> bool:
    """Whether all words are identifiers in turn with AND, OR and WITH (SPDX specification 2.3, annex D)."""
    depth, want_name = 0, True
    for word in _WORD.findall(text):
        if word == "(" and want_name:
            depth += 1
        elif word == ")" and not want_name and depth:
            depth -= 1
        elif want_name and word.removesuffix("+") in _IDENTIFIERS:
            want_name = False
        elif not want_name and word in ("AND", "OR", "WITH"):
            want_name = True
        else:
            return False
    return not want_name and not depth
