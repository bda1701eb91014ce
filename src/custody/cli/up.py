"""`custody up`: all services in one process, one data directory, on loopback."""

from __future__ import annotations

import click

from custody.cli.loglines import log_options, logged
from custody.cli.run import settings
from custody.cli.services import kubeconfig_option, serve_forever
from custody.server.platform import ROLES


@click.command("up")
@click.option("--port", default=5080, show_default=True, type=click.IntRange(0, 65535),
              help="Registry, OIDC issuer, certificate authority, log and timestamps; 0 chooses one.")
@click.option("--webhook-port", default=5443, show_default=True, type=click.IntRange(0, 65535),
              help="Admission webhook, with TLS.")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="Policies; default: custody.toml's.")
@kubeconfig_option
@log_options
def command(port: int, webhook_port: int, policies: tuple[str, ...], kubeconfig: str | None, log_format: str | None,
            log_level: str | None) -> None:
    """Run the registry, the trust services and the admission webhook on 127.0.0.1 until interrupted."""
    configured = logged(settings(), log_format, log_level)
    if kubeconfig is not None:
        configured = configured.replace(kubeconfig=kubeconfig)
    roles = (*ROLES, "runtime") if configured.runtime is not None else ROLES
    serve_forever(configured, roles, "127.0.0.1", port, webhook_port, policies)
