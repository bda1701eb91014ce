"""Which package of an image needs which: names as their ecosystems write them, resolved to package URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from custody.ecosystems import Resolver, of_type
from custody.sbom.catalogers.fact import Fact
from custody.sbom.limits import Account

Placed = tuple[Fact, str, str]
"""A fact, the file that it is from, its package URL."""

_EDGE = 100
"""Bytes that a dependency takes in memory and in documents, but for its package URL."""
_STEPS = 50_000_000


def resolve(placed: Sequence[Placed], kept: Account | None = None) -> dict[str, set[str]]:
    """The package URLs that each package depends on; what is not in the image is left out.

    Raises FullError where they take more than may be `kept`, and
    TypeError where an ecosystem's resolver gives anything but package URLs: a bare name would end up in SBOMs.
    """
    by_type: dict[tuple[str, bool], list[Placed]] = {}
    for package in placed:
        by_type.setdefault((package[0].type, package[0].declared), []).append(package)
    edges: dict[str, set[str]] = {}
    for (kind, declared), packages in by_type.items():
        # A lock file says itself which of its entries another needs, whatever the ecosystem.
        for purl, needed in (_by_file if declared else RESOLVERS[of_type(kind).resolver])(packages):
            if not needed.startswith("pkg:"):
                raise TypeError(f"dependencies of {kind}: got {needed!r} for {purl}, expected a package URL")
            if purl != needed:
                known = edges.setdefault(purl, set())
                if needed not in known:
                    known.add(needed)
                    if kept is not None:
                        kept.take(len(needed) + _EDGE)
    return edges


def _by_name(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """deb and apk: by name, and by names that others provide; `a|b` is met by the first there is."""
    names: dict[str, str] = {}
    for fact, _, purl in packages:
        for provided in fact.provides:
            names.setdefault(provided, purl)
    names.update((fact.name, purl) for fact, _, purl in packages)
    for fact, _, purl in packages:
        for name in fact.requires:
            chosen = next((names[choice] for choice in name.split("|") if choice in names), None)
            if chosen:
                yield purl, chosen


def _python(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """Installed side by side in one folder; else anywhere in the image."""
    names: dict[tuple[str, str], str] = {}
    for fact, path, purl in packages:
        names[_site(path), fact.source] = purl
        names.setdefault(("", fact.source), purl)
    for fact, path, purl in packages:
        for name in fact.requires:
            chosen = names.get((_site(path), name)) or names.get(("", name))
            if chosen:
                yield purl, chosen


def _site(path: str) -> str:
    parent, _, base = path.rpartition("/")
    return parent if base.endswith(".egg-info") else parent.rpartition("/")[0]


def _npm(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """node_modules of the package's own folder, then of every folder above (Node.js, "Loading from node_modules")."""
    modules: dict[str, dict[str, str]] = {}
    """By the folder of a node_modules, what is in it by name."""
    for _, path, purl in packages:
        folder, inside, name = f"/{path.rpartition('/')[0]}".rpartition("/node_modules/")
        if inside:
            modules.setdefault(folder, {})[name] = purl
    steps = Account(_STEPS, "folders that a name is looked up in")
    for fact, path, purl in packages:
        folder = f"/{path.rpartition('/')[0]}" if fact.requires else ""
        above = []
        while folder:
            if folder in modules:
                above.append(modules[folder])
            folder = folder.rpartition("/")[0]
        if "" in modules and fact.requires:
            above.append(modules[""])
        steps.take(len(above) * len(fact.requires))
        for name in fact.requires:
            if chosen := next((names[name] for names in above if name in names), None):
                yield purl, chosen


def _by_file(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """cargo and Go: what one program was linked from; what is in one lock file, by `name` or `name@version`."""
    names: dict[tuple[str, str], str] = {}
    for fact, path, purl in packages:
        names[path, fact.name] = names[path, f"{fact.name}@{fact.version}"] = purl
    for fact, path, purl in packages:
        for name in fact.requires:
            if chosen := names.get((path, name)):
                yield purl, chosen
            elif name.startswith("pkg:"):
                yield purl, name


def _archive(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """maven: in the same file, else in the same folder, else the one version that the image has; what an archive has in
    it is stated by its package URL."""
    names: dict[tuple[str, str], str] = {}
    anywhere: dict[str, set[str]] = {}
    for fact, path, purl in packages:
        for place in (path, path.rpartition("/")[0] + "/"):
            names.setdefault((place, fact.name), purl)
        anywhere.setdefault(fact.name, set()).add(purl)
    for fact, path, purl in packages:
        folder = path.rpartition("/")[0] + "/"
        for name in fact.requires:
            chosen = name if name.startswith("pkg:") else names.get((path, name)) or names.get((folder, name))
            if chosen:
                yield purl, chosen
            elif len(known := anywhere.get(name, ())) == 1:
                yield purl, next(iter(known))


def _stated(packages: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """Any other ecosystem: by the package URL where one is stated, else by the name anywhere in the image."""
    names = {fact.name: purl for fact, _, purl in packages}
    for fact, _, purl in packages:
        for name in fact.requires:
            if name.startswith("pkg:"):
                yield purl, name
            elif name in names:
                yield purl, names[name]


RESOLVERS: dict[Resolver, Callable[[Sequence[Placed]], Iterator[tuple[str, str]]]] = {
    "names": _by_name, "site": _python, "node_modules": _npm, "file": _by_file, "archive": _archive, "stated": _stated}
"""By what the rows of `custody.ecosystems` name; each gives the package URL that needs, and that which is needed."""
