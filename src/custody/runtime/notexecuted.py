"""Whether a package of an image was never executed: what VEX calls `vulnerable_code_not_in_execute_path`.

It is said only of what was seen whole. Anything that nobody saw may have run the package, so each gap is a reason to
say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from custody.errors import MissingEvidenceError
from custody.runtime.executables import Executables
from custody.runtime.executed import interprets
from custody.runtime.runtrace import Trace

_PROGRAMS = ("bin/", "sbin/", "usr/bin/", "usr/sbin/", "usr/local/bin/", "usr/local/sbin/")
_WORDS = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
          "usr/share/licenses/", "usr/share/bash-completion/", "usr/share/zsh/", "usr/share/fish/")
_FRESH, _AHEAD = timedelta(days=30), timedelta(minutes=5)
"""An attestation of a month ago may be one that somebody kept in place of a newer one; clocks differ a little."""
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of no bytes."""
_LIBRARY = re.compile(r"\.(?:so(?:\.[0-9.]+)?|py[co]?|[cm]?js|node|rb|p[lm]|php|lua|jar|class|wasm|tcl|sh)\Z")
"""What is loaded by its name, wherever it lies."""


def files_of(files: Executables, package: str) -> list[str]:
    """The paths of a package's files, by its package URL. Qualifiers and subpath may be left out."""
    plain = _plain(package)
    return [entry.path for entry in files.entries() if entry.owner and (
        entry.owner == package or (plain == package and _plain(entry.owner) == package))]


def check(trace: Trace, files: Executables, package: str, least: timedelta, *, now: datetime) -> str:
    """The reason in words, for VEX's impact statement. Raises MissingEvidenceError where it does not follow, and says
    why. `now`: what ended long before says nothing of today.
    """
    if trace.gaps:
        raise MissingEvidenceError("not all of the run was seen: " + "; ".join(trace.gaps))
    if not now - _FRESH <= trace.end <= now + _AHEAD:
        raise MissingEvidenceError(f"what was seen ended at {trace.end:%Y-%m-%d %H:%M}, expected within the last "
                                   f"{_days(_FRESH)}", hint="custody runtime attest IMAGE")
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
    if (used := contradiction(trace, files, own)) is not None:
        raise MissingEvidenceError(f"{package}: {used}")
    if trace.opened is None:
        programs = [path for path in own if not path.startswith(_WORDS)]
        reading = next((path for path in sorted(trace.executed) if interprets(path)), None)
        if programs and reading is not None:
            raise MissingEvidenceError(f"nobody looked which files were opened, and /{reading} was executed, which may "
                                       f"run /{programs[0]} of {package} without executing it")
    seen = "executed or opened" if trace.opened is not None else "executed, and nothing of them can be loaded,"
    return (f"none of the {len(own)} files of the package was {seen} from {trace.start:%Y-%m-%d} to "
            f"{trace.end:%Y-%m-%d}, and no event was lost")


def contradiction(trace: Trace, files: Executables, own: Sequence[str]) -> str | None:
    """That some of these files of a package were used, in words; None where that was not seen."""
    for verb, paths in (("executed", trace.executed), ("opened", trace.opened or frozenset())):
        if used := sorted(paths.intersection(own)):
            return f"/{used[0]} was {verb}{_more(used)}"
        # Code is the same under whatever name the image has it too.
        code = {digest: path for path in own if not path.startswith(_WORDS) for digest in _digests(files, path)}
        for path in sorted(paths):
            if (same := next((code[digest] for digest in _digests(files, path) if digest in code), None)) is not None:
                return f"/{path} was {verb}, which has the bytes of /{same}"
    for path in trace.renamed:
        real = files.resolve(path)
        below = next((name for name in own if any(not place or name == place or name.startswith(f"{place}/")
                                                  for place in (path, real))), None)
        if below is not None:
            return f"/{path} got another name while it ran, by which /{below} may have been opened"
    return None


def _digests(files: Executables, path: str) -> Iterator[str]:
    return (entry.sha256 for entry in files.at(path) if entry.sha256 not in ("", _EMPTY))


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
