"""Licence expressions (SPDX specification 2.3, annex D), and what packages state instead of one.

Names of DEP-5, of rpm before 2023, of Python's classifiers, npm, Alpine and Maven become identifiers of the SPDX list
where they mean one licence; `BSD` alone means none.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from custody.formats.licenselist import EXCEPTIONS, LICENSES, REPLACED
from custody.kit.digest import sha256

_LONGEST = 2000
_DEEPEST = 64
_WORD = re.compile(r"[()]|[^\s()]+")
_REFERENCE = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+\Z")
_SLUG = re.compile(r"[A-Za-z0-9.-]{1,60}\Z")
_BY_FOLDED = {name.lower(): name for name in (*LICENSES, *EXCEPTIONS)}
_GNU = re.compile(
    r"(?:the )?(?:gnu )?(?P<kind>lesser general public license|library general public license|"
    r"affero general public license|general public license|free documentation license|lgpl|agpl|gpl|gfdl|fdl)"
    r"(?:[ ,]*(?:version|v|-))? ?v?\.?(?P<version>[123](?:\.[0-3])?)(?:\.0)?"
    r"(?P<later>\+| ?\+| or later| or newer| or any later version|,? or \(at your option\) any later version|"
    r"-or-later)?(?P<only> only|-only)?(?: \([al]?gplv?[0-9.]+\+?\))?\Z")
_KINDS = {"general public license": "GPL", "lesser general public license": "LGPL",
          "library general public license": "LGPL", "affero general public license": "AGPL",
          "free documentation license": "GFDL", "fdl": "GFDL"}
_ALIASES = {
    # DEP-5, "License specification"; what Debian's copyright files say beside it
    "expat": "MIT", "artistic": "Artistic-1.0", "artistic-2": "Artistic-2.0", "perl": "Artistic-1.0-Perl OR "
    "GPL-1.0-or-later", "zope-2.1": "ZPL-2.1", "w3c-software": "W3C", "psf-2": "PSF-2.0",
    "bsd-2-clauses": "BSD-2-Clause", "bsd-3-clauses": "BSD-3-Clause", "bsd-4-clauses": "BSD-4-Clause",
    "cc0": "CC0-1.0", "isc-license": "ISC", "bsl-1": "BSL-1.0", "boost-1.0": "BSL-1.0", "ofl-1": "OFL-1.1",
    "sil-1.1": "OFL-1.1", "mpl-2": "MPL-2.0", "openldap-2.8": "OLDAP-2.8", "unicode": "Unicode-DFS-2016",
    "gfdl-niv-1.1+": "GFDL-1.1-no-invariants-or-later", "gfdl-niv-1.2+": "GFDL-1.2-no-invariants-or-later",
    "gfdl-niv-1.3+": "GFDL-1.3-no-invariants-or-later", "gfdl-niv-1.2": "GFDL-1.2-no-invariants-only",
    "gfdl-niv-1.3": "GFDL-1.3-no-invariants-only",
    # rpm, before Fedora took the SPDX list ("License:" tags of 2022 and older)
    "asl 1.0": "Apache-1.0", "asl 1.1": "Apache-1.1", "asl 2.0": "Apache-2.0", "boost": "BSL-1.0",
    "gpl+": "GPL-1.0-or-later", "lgplv2+": "LGPL-2.0-or-later", "openldap": "OLDAP-2.8", "mplv1.0": "MPL-1.0",
    "mplv1.1": "MPL-1.1", "mplv2.0": "MPL-2.0", "ncsa": "NCSA",
    "bsd with advertising": "BSD-4-Clause", "agplv3+": "AGPL-3.0-or-later", "ucd": "Unicode-DFS-2016",
    "postgresql": "PostgreSQL", "tcl": "TCL", "vim": "Vim", "wtfpl": "WTFPL", "sissl": "SISSL", "qpl": "QPL-1.0",
    "cpl": "CPL-1.0", "mit with advertising": "MIT-advertising", "openssl": "OpenSSL", "imagemagick": "ImageMagick",
    # Python's classifiers, without "License :: OSI Approved ::", and what authors write instead
    "mit license": "MIT", "the mit license": "MIT", "mit licence": "MIT", "the mit license (mit)": "MIT",
    "mit license (mit)": "MIT", "apache 2": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apachev2": "Apache-2.0", "apache v2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license v2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "apache license version 2.0": "Apache-2.0",
    "apache license 2": "Apache-2.0", "apache 2.0 license": "Apache-2.0", "apache software license 2.0": "Apache-2.0",
    "the apache software license, version 2.0": "Apache-2.0", "the apache license, version 2.0": "Apache-2.0",
    "apache software license, version 2.0": "Apache-2.0", "apache-2.0 license": "Apache-2.0", "asl2": "Apache-2.0",
    "new bsd": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "modified bsd license": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause", "bsd-3": "BSD-3-Clause", "bsd3": "BSD-3-Clause",
    "bsd 3 clause": "BSD-3-Clause", "bsd license 3": "BSD-3-Clause", "the bsd 3-clause license": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause", "simplified bsd license": "BSD-2-Clause", "bsd 2-clause": "BSD-2-Clause",
    "2-clause bsd": "BSD-2-Clause", "bsd 2-clause license": "BSD-2-Clause", "bsd-2": "BSD-2-Clause",
    "the bsd 2-clause license": "BSD-2-Clause", "bsd2": "BSD-2-Clause", "freebsd": "BSD-2-Clause",
    "isc license": "ISC", "isc license (iscl)": "ISC", "the isc license": "ISC",
    "python software foundation license": "PSF-2.0", "psf": "PSF-2.0", "psf license": "PSF-2.0", "psfl": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "the unlicense": "Unlicense", "zpl 2.1": "ZPL-2.1",
    "mozilla public license 1.0 (mpl)": "MPL-1.0", "mozilla public license 1.1 (mpl 1.1)": "MPL-1.1",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "mozilla public license 2.0": "MPL-2.0",
    "mozilla public license, version 2.0": "MPL-2.0", "mozilla public license version 2.0": "MPL-2.0",
    "mpl 2.0": "MPL-2.0", "mpl 1.1": "MPL-1.1", "mpl2": "MPL-2.0", "mplv2": "MPL-2.0",
    "universal permissive license (upl)": "UPL-1.0", "boost software license 1.0 (bsl-1.0)": "BSL-1.0",
    "historical permission notice and disclaimer (hpnd)": "HPND", "zlib/libpng license": "Zlib", "zlib license": "Zlib",
    "cc0 1.0 universal (cc0 1.0) public domain dedication": "CC0-1.0", "cc0 1.0 universal": "CC0-1.0",
    "mit no attribution license (mit-0)": "MIT-0", "blue oak model license (blueoak-1.0.0)": "BlueOak-1.0.0",
    "european union public licence 1.2 (eupl 1.2)": "EUPL-1.2", "do what the fuck you want to public license": "WTFPL",
    "mulan permissive software license v2 (mulanpsl-2.0)": "MulanPSL-2.0",
    # Maven
    "bouncy castle licence": "MIT", "eclipse public license - v 1.0": "EPL-1.0",
    "eclipse public license - v 2.0": "EPL-2.0", "eclipse public license 1.0": "EPL-1.0",
    "eclipse public license 2.0": "EPL-2.0", "eclipse public license v2.0": "EPL-2.0", "epl 2.0": "EPL-2.0",
    "eclipse public license, version 1.0": "EPL-1.0", "eclipse public license v. 2.0": "EPL-2.0",
    "eclipse distribution license - v 1.0": "BSD-3-Clause", "edl 1.0": "BSD-3-Clause",
    "common development and distribution license (cddl) v1.0": "CDDL-1.0", "cddl 1.0": "CDDL-1.0",
    "cddl 1.1": "CDDL-1.1",
    "https://oss.oracle.com/licenses/cddl+gpl-1.1": "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0",
    "public domain, per creative commons cc0": "CC0-1.0", "go license": "BSD-3-Clause",
    "gpl2 w/ cpe": "GPL-2.0-only WITH Classpath-exception-2.0", "the go license": "BSD-3-Clause",
    # R ("Writing R Extensions", 1.1.2)
    "gpl (>= 2)": "GPL-2.0-or-later", "gpl (>= 2.0)": "GPL-2.0-or-later", "gpl (>= 3)": "GPL-3.0-or-later",
    "gpl (>=2)": "GPL-2.0-or-later", "gpl (>= 3.0)": "GPL-3.0-or-later", "lgpl (>= 2)": "LGPL-2.0-or-later",
    "lgpl (>= 2.1)": "LGPL-2.1-or-later", "lgpl (>= 3)": "LGPL-3.0-or-later", "agpl (>= 3)": "AGPL-3.0-or-later",
    "apache license (>= 2)": "Apache-2.0", "apache license (== 2.0)": "Apache-2.0",
    **{f"{scheme}://{host}apache.org/licenses/license-2.0{ending}": "Apache-2.0" for scheme in ("http", "https")
       for host in ("", "www.") for ending in ("", ".txt", ".html")}}
"""Spellings, folded, that mean one licence."""
_EXCEPTION_ALIASES = {"classpath exception": "Classpath-exception-2.0", "font exception": "Font-exception-2.0",
                      "llvm exceptions": "LLVM-exception", "llvm exception": "LLVM-exception",
                      "bison exception": "Bison-exception-2.2", "libtool exception": "Libtool-exception"}
_NOTHING = frozenset(("", "unknown", "none", "noassertion", "null", "undefined", "n/a", "-", "other", "unlicensed"))
_OPERATORS = {"and": "AND", "or": "OR", "with": "WITH"}
_SIGNS = {"|": "OR", "||": "OR", "/": "OR", "&": "AND", "&&": "AND"}
_FILE = re.compile(r" ?\+ ?file licen[cs]e\Z", re.IGNORECASE)
_SPLIT = re.compile(r"(\(|\)|\s+(?:and|or|with)\s+|\s+(?:AND|OR|WITH)\s+|\s*,\s*(?:and|or)\s+|\s*[|&]{1,2}\s*|/)")
_PROPRIETARY = re.compile(r"license ::|osi approved ::|dfsg approved ::")


def is_identifier(text: str) -> bool:
    """Whether the SPDX list has a licence of this name."""
    return text in LICENSES


@lru_cache(4096)
def is_expression(text: str) -> bool:
    """Whether it is a licence expression of identifiers on the SPDX list and LicenseRefs, spelled as the list does.

    WITH stands between one licence and one exception; parentheses nest 64 deep at most.
    """
    depth, state = 0, "licence"
    words = _WORD.findall(text) if len(text) <= _LONGEST else []
    if text.strip("() \t") == "" or not words:
        return False
    for word in words:
        if state == "licence" and word == "(" and depth < _DEEPEST:
            depth += 1
        elif state == "licence" and (word in LICENSES or word.removesuffix("+") in LICENSES):
            state = "licensed"
        elif state == "licence" and _REFERENCE.match(word):
            state = "referred"
        elif state == "exception" and (word in EXCEPTIONS or word.startswith("AdditionRef-")):
            state = "done"
        elif state == "licensed" and word == "WITH":
            state = "exception"
        elif state in ("licensed", "referred", "done") and word in ("AND", "OR"):
            state = "licence"
        elif state in ("licensed", "referred", "done") and word == ")" and depth:
            depth, state = depth - 1, "done"
        else:
            return False
    return state not in ("licence", "exception") and not depth


@lru_cache(8192)
def expression(stated: str) -> str | None:
    """The licence expression that a package's own words mean, deprecated identifiers replaced; None where they mean
    none that is sure.
    """
    text = _FILE.sub("", " ".join(stated.split()))
    if len(text) > _LONGEST or text.lower() in _NOTHING:
        return None
    if (whole := _one(text)) is not None:
        return whole
    parts = _SPLIT.split(text)
    words: list[str] = []
    for part in parts:
        bare = part.strip(" ,")
        if not bare:
            continue
        if bare in "()":
            words.append(bare)
        elif (operator := _OPERATORS.get(bare.lower()) or _SIGNS.get(bare)):
            words.append(operator)
        elif words and words[-1] == "WITH":
            exception = _exception(bare)
            if exception is None:
                return None
            words.append(exception)
        else:
            licence = _one(bare)
            if licence is None:
                return None
            # A replacement may have WITH in it already, behind which no other stands.
            words += ["(", *licence.split(" "), ")"] if " OR " in licence and len(parts) > 1 else licence.split(" ")
    joined = re.sub(r"\( | \)", lambda match: match[0].strip(), " ".join(words))
    return joined if len(words) > 1 and is_expression(joined) else None


def stated(names: Collection[str]) -> tuple[str, ...]:
    """What a package states, each as the expression that it means, or in its own words; the same once."""
    if not names:
        return ()
    kept = (expression(name) or " ".join(name.split()) for name in names)
    return tuple(dict.fromkeys(name for name in kept if name and name.lower() not in ("unknown", "noassertion")))


def combined(names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """All of them in one expression, joined by AND; and the words behind each LicenseRef in it.

    Empty where there is none.
    """
    extracted: dict[str, str] = {}
    parts = []
    for name in names:
        if is_expression(name):
            parts.append(f"({name})" if len(names) > 1 and " OR " in name else name)
        else:
            key = reference(name)
            extracted[key] = name
            parts.append(key)
    return " AND ".join(dict.fromkeys(parts)), extracted


@lru_cache(4096)
def reference(name: str) -> str:
    """The LicenseRef of a licence that is not on the list: by its name where that is a word, else by its digest."""
    if _SLUG.match(name):
        return f"LicenseRef-{name}"
    return "LicenseRef-" + sha256(name.encode(errors="backslashreplace"))[7:19]


def _one(text: str) -> str | None:
    """The expression that a name means."""
    name = _PROPRIETARY.sub("", text.lower()).strip(" :;.") if "::" in text else text
    folded = name.lower()
    if known := _BY_FOLDED.get(folded):
        return REPLACED.get(known, known) if known in LICENSES else None
    if _REFERENCE.match(name):
        return name
    if folded in _ALIASES:
        return _ALIASES[folded]
    match = _GNU.match(folded)
    if match is None:
        if folded.endswith("+") and (known := _BY_FOLDED.get(folded[:-1])) in LICENSES and known is not None:
            return known + "+"
        bare = folded.removesuffix(" license").removesuffix(" licence").removeprefix("the ")
        known = _BY_FOLDED.get(bare)
        return REPLACED.get(known, known) if known in LICENSES and known is not None else _ALIASES.get(bare)
    kind = _KINDS.get(match["kind"], match["kind"].upper())
    version = match["version"] if "." in match["version"] else match["version"] + ".0"
    spelled = f"{kind}-{version}-{'or-later' if match['later'] else 'only'}"
    return spelled if spelled in LICENSES else None


def _exception(text: str) -> str | None:
    folded = text.lower()
    known = _BY_FOLDED.get(folded)
    return known if known in EXCEPTIONS else _EXCEPTION_ALIASES.get(folded.replace("-", " "))
