"""`custody serve`: the same services apart, each where it is wanted."""

from __future__ import annotations

import sys

import click
from click.core import ParameterSource

from custody.cli.run import settings
from custody.cli.services import serve_forever
from custody.errors import UsageError
from custody.server.platform import ROLES


@click.command("serve")
@click.option("--roles", required=True, metavar="ROLE,…", help=f"Some of {', '.join(ROLES)}.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on. Nothing here asks who is calling: put it behind what does.")
@click.option("--port", default=5080, show_default=True, type=click.IntRange(0, 65535),
              help="Where all but the webhook listen, and /healthz and /readyz without TLS; 0 chooses one. Admission "
                   "alone listens there only where this is given.")
@click.option("--webhook-port", default=5443, show_default=True, type=click.IntRange(0, 65535),
              help="Admission webhook, with TLS.")
@click.option("--webhook-name", "webhook_names", multiple=True, metavar="HOST",
              help="A name or address by which the API server calls the webhook, for its certificate; repeatable. "
                   "--host and localhost are in it.")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="Policies; default: custody.toml's.")
def command(roles: str, host: str, port: int, webhook_port: int, webhook_names: tuple[str, ...],
            policies: tuple[str, ...]) -> None:
    """Run some of the services. Where they are reached by other names, `urls` in custody.toml says so."""
    chosen = tuple(roles.split(","))
    context = click.get_current_context()
    if "admission" not in chosen:
        if webhook_names:
            raise UsageError(f"--webhook-name: is for the admission role, and --roles names {roles}")
        if context.get_parameter_source("policies") is ParameterSource.COMMANDLINE:
            raise UsageError(f"--policy: is for the admission role, and --roles names {roles}")
        if context.get_parameter_source("webhook_port") is ParameterSource.COMMANDLINE:
            print(f"warning: --webhook-port: nothing listens there, --roles names {roles}", file=sys.stderr)
    elif host in ("0.0.0.0", "::") and not webhook_names:  # noqa: S104 - it is asked about
        print(f"warning: --host {host}: nobody calls by that name, and the webhook's certificate has no other but "
              "localhost; --webhook-name HOST adds one", file=sys.stderr)
    alone = set(chosen) == {"admission"}
    asked = context.get_parameter_source("port") is ParameterSource.COMMANDLINE
    serve_forever(settings(), chosen, host, None if alone and not asked else port, webhook_port, policies,
                  webhook_names)
