"""`--format` and `--formats`: the forms in which signatures and attestations of images are stored."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import click

from custody.cli.trust_options import options_of, stated, warn
from custody.errors import UsageError
from custody.sign.signer import Signer

_FORMATS = {"bundle": frozenset({"v3"}), "legacy": frozenset({"v2"}), "both": frozenset({"v2", "v3"})}


def form_options(suffix: str, readers: str) -> Callable[[Any], Any]:
    """`--format`, as the parameter `form`, of what cosign 2 keeps in the tag of this suffix, and cosign's own flag."""
    return options_of(
        click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="bundle", show_default=True,
                     help=f"A Sigstore bundle (cosign 3), a layer of the tag sha256-<hex>.{suffix} ({readers}), or "
                     "both."),
        click.option("--new-bundle-format", type=bool, default=True, metavar="BOOL", help="As cosign has it: =false is "
                     "--format legacy."))


def chosen_forms(options: dict[str, Any], *known: str) -> tuple[Set[str], str]:
    """The forms that `form`, `formats` and `new_bundle_format` name, which are taken out of `options`, and how the one
    that was given is spelled; `known` are those of `--formats`. Raises UsageError.
    """
    form, formats, new = (options.pop(name) for name in ("form", "formats", "new_bundle_format"))
    named = [flag for flag in ("form", "formats", "new_bundle_format") if stated((flag,))]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(_SPELLED[flag] for flag in named)}: give one")
    if named == ["new_bundle_format"]:
        return _FORMATS["bundle" if new else "legacy"], f"--new-bundle-format={str(new).lower()}"
    if formats is None:
        return _FORMATS[form], f"--format {form}"
    listed = [name.strip() for name in formats.split(",")]
    if unknown := [name for name in listed if name not in known]:
        raise UsageError(f"--formats: got {unknown[0]!r}, expected {', '.join(known[:-1])} and {known[-1]} with commas "
                         "between them")
    return set(listed), f"--formats {formats}"


_SPELLED = {"form": "--format", "formats": "--formats", "new_bundle_format": "--new-bundle-format"}


def check_logs(signer: Signer, insisted: bool | None, signed: str) -> None:
    """A layer holds a log's signed entry timestamp, which only logs of API version 1 give.

    `insisted` is `--tlog-upload`, `signed` what there would be (`a signature`). Warns where a layer will be in no log;
    raises UsageError where that is not wanted.
    """
    if signer.config.rekor and not any(log.major_api_version == 1 for log in signer.config.rekor):
        if insisted:
            raise UsageError(f"--tlog-upload=true: {signed} of --format legacy cannot hold an entry of a log of API "
                             "version 2, and the signing config names no other", hint="--format bundle")
        warn("--format legacy: is in no log: the log is of API version 2, whose entries it cannot hold; verifying "
             "it needs --insecure-ignore-tlog, or for Kyverno `rekor: {ignoreTlog: true}`")
