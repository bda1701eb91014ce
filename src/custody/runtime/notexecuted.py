"""Whether a package of an image was never executed: what VEX calls `vulnerable_code_not_in_execute_path`.

It is said only of what was seen whole. Anything that nobody saw may have run the package, so each gap is a reason to
say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from custody.errors import MissingEvidenceError
from custody.runtime.executables import Executables
from custody.runtime.runtrace import Trace

_PROGRAMS = ("bin/", "sbin/", "usr/bin/", "usr/sbin/", "usr/local/bin/", "usr/local/sbin/")
_WORDS = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
          "usr/share/licenses/", "usr/share/bash-completion/", "usr/share/zsh/", "usr/share/fish/")
_LIBRARY = re.compile(r"\.(?:so(?:\.[0-9.]+)?|py[co]?|[cm]?js|node|rb|p[lm]|php|lua|jar|class|wasm|tcl|sh)\Z")
"""What is loaded by its name, wherever it lies."""


def files_of(files: Executables, package: str) -> list[str]:
    """The paths of a package's files, by its package URL. Qualifiers and subpath may be left out."""
    plain = _plain(package)
    return [entry.path for entry in files.entries() if entry.owner and (
        entry.owner == package or (plain == package and _plain(entry.owner) == package))]


def check(trace: Trace, files: Executables, package: str, least: timedelta) -> str:
    """The reason in words, for VEX's impact statement. Raises MissingEvidenceError where it does not follow, and says
    why.
    """
    if trace.gaps:
        raise MissingEvidenceError("not all of the run was seen: " + "; ".join(trace.gaps))
    if trace.end - trace.start < least:
        raise MissingEvidenceError(
            f"it was seen for {_days(trace.end - trace.start)}, expected {_days(least)} at least")
    if trace.alien:
        raise MissingEvidenceError(f"something was executed that is not the image's, such as {trace.alien[0]}: nobody "
                                   "knows which code it has")
    if trace.unlike:
        raise MissingEvidenceError(f"{trace.unlike} of its containers were changed while they ran: what the package's "
                                   "files are there is not known")
    own = files_of(files, package)
    if not own:
        raise MissingEvidenceError(f"{package}: no file of the image is known to be its own",
                                   hint="custody runtime executables IMAGE --all names the packages")
    loaded = [path for path in own if not _only_executed(path)]
    if trace.opened is None and loaded:
        raise MissingEvidenceError(f"nobody looked which files were opened, and /{loaded[0]} of {package} may be "
                                   "loaded without being executed")
    for verb, paths in (("executed", trace.executed), ("opened", trace.opened or frozenset())):
        used = sorted(paths.intersection(own))
        if used:
            raise MissingEvidenceError(f"{package}: /{used[0]} was {verb}{_more(used)}")
    seen = "executed or opened" if trace.opened is not None else "executed, and nothing of them can be loaded,"
    return (f"none of the {len(own)} files of the package was {seen} from {trace.start:%Y-%m-%d} to "
            f"{trace.end:%Y-%m-%d}, and no event was lost")


def _only_executed(path: str) -> bool:
    """Whether a file can do nothing but be executed: a program in a folder of programs, and what has no code at all."""
    if path.startswith(_WORDS):
        return True
    return path.startswith(_PROGRAMS) and not _LIBRARY.search(path)


def _more(paths: Sequence[str]) -> str:
    return f", and {len(paths) - 1} more of its files" if len(paths) > 1 else ""


def _plain(purl: str) -> str:
    return purl.partition("?")[0].partition("#")[0]


def _days(period: timedelta) -> str:
    return f"{period.total_seconds() / 86_400:.1f} days"
