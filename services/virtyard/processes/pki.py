"""`virtyard pki`: the authority of a site and the certificates that it issues."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from virtyard.kernel.errors import VirtyardError
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard.processes.control_settings import CERTIFICATE_DAYS, DOMAIN, PKI
from virtyard.processes.hosting import say
from virtyard.processes.site import prepare_authority
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.pki import Authority


def main(argv: Sequence[str]) -> int:
    """Make the authority of a site, and issue certificates."""
    parser = argparse.ArgumentParser(prog="virtyard pki", description=main.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    init = verbs.add_parser("init", help="make the authority and the certificates of services and administrator")
    issue = verbs.add_parser("issue", help="issue a certificate to one identity")
    issue.add_argument("identity", help="agent/NAME, service/NAME or user/NAME")
    issue.add_argument("--out", type=Path, required=True, help="folder to write cert.pem, key.pem and ca.pem to")
    issue.add_argument("--role", action="append", help="role of a user: viewer, operator or administrator")
    for verb in (init, issue):
        verb.add_argument("--host", action="append", default=[], help="name or address under which it is dialled")
        add_flags(verb, ("pki",))
    arguments = parser.parse_args(argv)
    settings = configuration_of("pki", arguments, parser.prog)
    try:
        _run(arguments, settings)
    except VirtyardError as error:
        sys.stderr.write(f"virtyard pki: {error.message}\n")
        return 2
    return 0


def _run(arguments: argparse.Namespace, settings: Configuration) -> None:
    pki, lifetime = settings[PKI], timedelta(days=settings[CERTIFICATE_DAYS])
    if arguments.verb == "init":
        authority = prepare_authority(pki, settings[DOMAIN], arguments.host, lifetime=lifetime)
        say(f"the authority of {authority.domain} is in {pki}")
        return
    hosts = ["localhost", "127.0.0.1", *arguments.host]
    authority = Authority.load(pki)
    authority.issue(arguments.identity, arguments.out, hosts=hosts, roles=arguments.role, lifetime=lifetime)
    say(f"issued {arguments.identity} to {arguments.out}")
