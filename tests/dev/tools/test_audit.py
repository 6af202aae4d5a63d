"""What a database of vulnerabilities says is told, and that none was reached is told too."""

import json
import sys

import pytest

from cxr_attn_unet_dev.tools.audit import main, verdict_of

SOUND = {"name": "numpy", "version": "2.2.6", "vulns": []}
SKIPPED = {"name": "cxr-attn-unet", "skip_reason": "not found on PyPI"}
VULNERABLE = {
    "name": "pydicom",
    "version": "2.4.4",
    "vulns": [{"id": "GHSA-1", "aliases": ["CVE-2026-32711"], "fix_versions": ["2.4.5", "3.0.2"]}],
}


@pytest.fixture
def audit(tmp_path, capsys):
    """Runs the command on a program that prints what pip-audit would; returns status, output and errors."""

    def run(printed, *options):
        program = tmp_path / "pip-audit"
        program.write_text(f"#!{sys.executable}\nprint({printed!r})\n")
        program.chmod(0o755)
        status = main(["--pip-audit", str(program), "--path", str(tmp_path), *options])
        return status, *capsys.readouterr()

    return run


def report(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_vulnerability_has_its_names_and_what_repairs_it():
    (line,) = verdict_of(json.loads(report(SOUND, VULNERABLE))).vulnerable
    assert line == "pydicom 2.4.4: GHSA-1, CVE-2026-32711; repaired in 2.4.5, 3.0.2"


def test_a_vulnerability_fails_the_command(audit):
    assert audit(report(SOUND, VULNERABLE))[0] == 1


def test_a_sound_environment_passes(audit):
    status, output, _ = audit(report(SOUND, SKIPPED))
    assert (status, "1 packages looked up, 0 vulnerabilities" in output, "cxr-attn-unet" in output) == (0, True, True)


@pytest.mark.parametrize("printed", [report(SKIPPED), "", "Traceback"])
def test_that_no_database_was_reached_is_said(audit, printed):
    status, _, errors = audit(printed)
    assert (status, errors.startswith("Not audited: no database")) == (0, True)


def test_that_no_database_was_reached_fails_where_one_is_wanted(audit):
    assert audit(report(SKIPPED), "--strict")[0] == 3
