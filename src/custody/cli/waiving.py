"""Options that leave findings out by somebody's word: VEX of chosen signers, ignore files."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from custody.errors import UsageError
from custody.formats.bom import Catalog
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.settings import Settings
from custody.vulns.report import Ignored
from custody.vulns.vex.waivers import Spoken, Use, Waivers, refusal

if TYPE_CHECKING:
    from custody.services.verify import Terms

_NEARBY = (".custodyignore", ".trivyignore", ".trivyignore.yaml", ".grype.yaml")
ATTESTED = ("attested", "oci")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Waiving:
    """What was typed."""

    vex: tuple[str, ...] = ()
    ignorefiles: tuple[Path, ...] = ()
    signer: dict[str, Any] | None = None

    def with_vex(self, vex: tuple[str, ...]) -> Waiving:
        """The same for these documents, and without ignore files."""
        return Waiving(vex, (), self.signer)

    def check(self, settings: Settings) -> None:
        """Say what cannot be read before minutes are spent on the image. Raises as `waivers` does."""
        self.terms(settings)
        if self.ignorefiles:
            from custody.services import statements

            statements.read_rules(self.ignorefiles)
        for text in self.vex:
            if text not in ATTESTED and not Path(text).is_file():
                raise UsageError(f"--vex {text}: no such file", hint="a file, or `attested`")

    def waivers(self, settings: Settings, catalog: Catalog, target: str) -> Waivers:
        """Raises UsageError, MalformedError, UnsupportedError, and what asking the registry does."""
        terms = self.terms(settings)
        if not self.vex and not self.ignorefiles:  # most scans: nothing that verifies has to be imported
            return Waivers((), (), self._nearby(target))
        from custody.services import statements

        spoken: list[Spoken] = []
        refused: list[Use] = []
        for text in self.vex:
            documents, unusable = (self._attested(settings, catalog, target, terms) if text in ATTESTED else
                                   statements.read_file(Path(text), catalog.digest, terms, system_clock()))
            spoken += documents
            refused += unusable
        return Waivers(spoken, statements.read_rules(self.ignorefiles), [*refused, *self._nearby(target)])

    def _nearby(self, target: str) -> list[Use]:
        """Ignore files that lie around: they came with what is scanned, so that nobody chose them."""
        folders = dict.fromkeys((Path(), Path(target.removeprefix("dir:").removeprefix("git:"))))
        named = {path.absolute() for path in self.ignorefiles}
        return [refusal(str(path), f"nobody named it: --ignorefile {path}") for folder in folders for name in _NEARBY
                if (path := folder / name).absolute() not in named and path.is_file()]

    def terms(self, settings: Settings) -> Terms | None:
        if self.signer is None:
            if any(text in ATTESTED for text in self.vex):
                raise UsageError("--vex attested: nobody was chosen whose word counts",
                                 hint="--vex-key FILE, or --vex-identity ID --vex-issuer URL")
            return None
        from custody.cli.trust_options import Expected
        from custody.sign.identity import CLAIM_FLAGS

        return Expected(settings, {
            **self.signer, "insecure_ignore_sct": False,
            **{f"certificate_github_workflow_{name}": None for name in CLAIM_FLAGS}}).terms

    def _attested(self, settings: Settings, catalog: Catalog, target: str, terms: Terms | None
                  ) -> tuple[list[Spoken], list[Use]]:
        from custody.cli.trust_options import named
        from custody.services import statements
        from custody.services.verify import judge_all
        from custody.sign.referrers import fetch_evidence
        from custody.wiring import registry_client

        assert terms is not None  # said by terms
        ref = named(target).at(catalog.digest)

        async def fetch() -> Any:
            async with registry_client(settings) as client:
                return await fetch_evidence(client, ref, unsigned=False)

        return statements.attested(judge_all(catalog.digest, asyncio.run(fetch()), terms, system_clock()))


_SIGNER = (
    click.option("--vex-key", metavar="FILE", help="Whose signed VEX counts: a public key."),
    click.option("--vex-identity", metavar="ID", help="Whose: the identity of a certificate."),
    click.option("--vex-identity-regexp", metavar="RE", help="The same as a pattern, not anchored."),
    click.option("--vex-issuer", metavar="URL", help="Who vouched for that identity."),
    click.option("--vex-issuer-regexp", metavar="RE", help="The same as a pattern, not anchored."),
    click.option("--vex-trusted-root", metavar="FILE", help="Authorities and logs of those signers."),
    click.option("--vex-ignore-tlog", is_flag=True, help="Do not ask for a log entry of signed VEX."))


def signer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whose signed VEX counts: given to the command as `words`."""
    @functools.wraps(command)
    def wrapped(*arguments: Any, vex_key: str | None, vex_identity: str | None, vex_identity_regexp: str | None,
                vex_issuer: str | None, vex_issuer_regexp: str | None, vex_trusted_root: str | None,
                vex_ignore_tlog: bool, **rest: Any) -> Any:
        named = (vex_key, vex_identity, vex_identity_regexp, vex_issuer, vex_issuer_regexp)
        if vex_key and any(named[1:]):
            raise UsageError("--vex-key and --vex-identity: give one; a key has no certificate")
        if (vex_trusted_root or vex_ignore_tlog) and not any(named):
            raise UsageError("--vex-trusted-root, --vex-ignore-tlog: nobody was chosen whose word counts",
                             hint="--vex-key FILE, or --vex-identity ID --vex-issuer URL")
        signer = {"key": vex_key, "certificate_identity": vex_identity, "trusted_root": vex_trusted_root,
                  "certificate_identity_regexp": vex_identity_regexp, "certificate_oidc_issuer": vex_issuer,
                  "certificate_oidc_issuer_regexp": vex_issuer_regexp, "insecure_ignore_tlog": vex_ignore_tlog}
        return command(*arguments, words=Waiving(signer=signer if any(named) else None), **rest)

    for option in reversed(_SIGNER):
        wrapped = option(wrapped)
    return wrapped


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Given to the command as `words`."""
    @click.option("--vex", "vex", multiple=True, metavar="FILE|attested",
                  help="Leave out what VEX (OpenVEX, CycloneDX, CSAF) says is not affected or fixed: a file, or "
                       "`attested` for what is signed about the image (Trivy's word is oci); repeatable.")
    @click.option("--ignorefile", "--ignore-file", "ignorefiles", multiple=True,
                  type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                  help="Leave out what a .custodyignore, .trivyignore(.yaml) or .grype.yaml names; repeatable. "
                       "One that is not named does not count, wherever it lies.")
    @signer_options
    @functools.wraps(command)
    def wrapped(*arguments: Any, vex: tuple[str, ...], ignorefiles: tuple[Path, ...], words: Waiving, **rest: Any
                ) -> Any:
        if words.signer and not vex:
            raise UsageError("--vex-…: no VEX to verify", hint="--vex attested, or --vex FILE")
        return command(*arguments, words=Waiving(vex, ignorefiles, words.signer), **rest)

    return wrapped


def lines(uses: tuple[Use, ...], ignored: tuple[Ignored, ...]) -> list[str]:
    """What a person must know: by whose word findings are left out, and what was said in vain."""
    by_word = Counter((entry.source.partition(": ")[0], entry.by, entry.status, entry.until) for entry in ignored
                      if entry.source)
    said = [f"left out: {amount(count, 'finding')} as {status} by {by} "
            f"({source}{', until ' + until if until else ', no expiry'})"
            for (source, by, status, until), count in by_word.items()]
    for state, kind in (("unused", "matched nothing"), ("outdated", "outdated"), ("expired", "expired"),
                        ("refused", "does not count")):
        uses_of = [use for use in uses if use.state == state]
        said += [f"{'warning: ' if state in ('refused', 'expired') else ''}{kind}: {describe(use)}"
                 for use in uses_of[:_SHOWN]]
        if len(uses_of) > _SHOWN:
            said.append(f"{kind}: {len(uses_of) - _SHOWN} more (-o json has them all)")
    return [visible(line) for line in said]


def describe(use: Use) -> str:
    place = f" {use.place}" if use.place else ""
    products = f" for {', '.join(use.products[:3])}" if use.products else ""
    return f"{use.source}{place}: {use.id}{products}: {use.reason}".replace(": : ", ": ")
