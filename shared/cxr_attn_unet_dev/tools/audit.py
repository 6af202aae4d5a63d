"""Look up the packages of an environment in a database of known vulnerabilities, by pip-audit.

Says so where no database can be reached: pip-audit itself then skips every package and finds nothing wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Verdict", "verdict_of"]

VULNERABLE, NOT_REACHED = 1, 3


@dataclass(frozen=True)
class Verdict:
    """What a database says of an environment.

    Attributes:
        looked_up: number of packages that it knows.
        skipped: names of those that it does not, such as packages that were never published.
        vulnerable: a line for each vulnerability: package, version, its names, versions without it.
    """

    looked_up: int
    skipped: tuple[str, ...]
    vulnerable: tuple[str, ...]


def verdict_of(report: Mapping[str, Any]) -> Verdict:
    """What is in a report of ``pip-audit --format json``."""
    packages = report["dependencies"]
    found = [package for package in packages if "skip_reason" not in package]
    lines = []
    for package in found:
        for entry in package["vulns"]:
            names = ", ".join([entry["id"], *entry.get("aliases", ())])
            repaired = ", ".join(entry["fix_versions"]) or "no version yet"
            lines.append(f"{package['name']} {package['version']}: {names}; repaired in {repaired}")
    skipped = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Verdict(len(found), skipped, tuple(lines))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.audit --pip-audit .venv-audit/bin/pip-audit --path "
        '"$(.venv/bin/python -c \'import sysconfig; print(sysconfig.get_path("purelib"))\')"\n'
        "Exit status: 0 nothing known, or no database reached (3 with --strict); 1 vulnerabilities.",
    )
    parser.add_argument("--pip-audit", default="pip-audit", metavar="PROGRAM", help="the program (default: pip-audit)")
    parser.add_argument("--path", required=True, metavar="SITE_PACKAGES", help="where the packages are")
    parser.add_argument("--service", default="pypi", choices=["pypi", "osv"], help="the database (default: pypi)")
    parser.add_argument("--strict", action="store_true", help="fail where no database can be reached")
    options = parser.parse_args(arguments)
    command = [options.pip_audit, "--path", options.path, "--vulnerability-service", options.service]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        verdict = verdict_of(json.loads(done.stdout))
        why = f"{options.service} answers for none of {len(verdict.skipped)} packages"
    except ValueError:  # it ends with a traceback where it reaches no database
        verdict = Verdict(0, (), ())
        why = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    if not verdict.looked_up:
        print(f"Not audited: no database of vulnerabilities can be reached from here ({why}).", file=sys.stderr)
        return NOT_REACHED if options.strict else 0
    for line in verdict.vulnerable:
        print(line)
    print(f"{verdict.looked_up} packages looked up, {len(verdict.vulnerable)} vulnerabilities known.")
    if verdict.skipped:
        print(f"Not in the database: {', '.join(verdict.skipped)}.")
    return VULNERABLE if verdict.vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
