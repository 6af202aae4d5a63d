"""50 kills (KILLS of the environment) of each command with SIGKILL and with SIGTERM; docs/reliability/kills.json.

The training of the label app needs MONAI Label's environment ("make soak-label"), and has kills_label_app.json.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import REPOSITORY
from cxr_attn_unet.system import hardware
from cxr_attn_unet_dev.tools.reliability import write_findings
from killed import contents, finish, kill, parts, prepare
from killed_commands import CASES

KILLS = int(os.environ.get("KILLS", "50"))
ROUND = 5  # kills of one folder, until its command is let go on to its end
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
LABEL_APP = "label_app"


@pytest.mark.soak
def test_every_command_gives_what_it_would_have_given_after_many_kills(tmp_path):
    rows = killed_often([name for name in CASES if name != LABEL_APP], tmp_path)
    write("kills", "Kills", f"make soak ARGS=tests/soak/test_soak_kills.py KILLS={KILLS}", rows)
    assert [row for row in rows if row["other results"] or row["half files"]] == []


@pytest.mark.soak
@pytest.mark.skipif(LABEL_APP not in CASES, reason="needs MONAI Label: make soak-label")
def test_so_does_the_training_of_the_label_app(tmp_path):
    rows = killed_often([LABEL_APP], tmp_path)
    write("kills_label_app", "Kills of the label app's training", f"make soak-label KILLS={KILLS}", rows)
    assert [row for row in rows if row["other results"] or row["half files"]] == []


def killed_often(names: list[str], tmp_path: Path) -> list[dict[str, Any]]:
    """What came of the kills of some commands, by command and signal."""
    rows = []
    for name in names:
        make = CASES[name]
        (tmp_path / name).mkdir()
        case = make(tmp_path / name)
        whole = tmp_path / f"{name}_whole"
        whole.mkdir()
        prepare(whole / "log")
        begin = time.monotonic()
        assert finish(case.command, case.arguments(whole), whole / "log") == 0, (whole / "log").read_text()
        seconds = time.monotonic() - begin
        expected = contents(whole / "made", case.without, case.keys)
        for word, number in SIGNALS.items():
            rng = np.random.default_rng(0)
            row = {"command": name, "signal": word, "kills": 0, "rounds": 0, "other results": 0, "half files": 0}
            while row["kills"] < KILLS:
                folder = tmp_path / f"{name}_{word}_{row['rounds']}"
                folder.mkdir()
                most = min(ROUND, KILLS - row["kills"])
                row["kills"] += kill(case.command, case.arguments(folder), folder / "log", number, most, seconds, rng)
                row["rounds"] += 1
                ended = finish(case.command, case.arguments(folder), folder / "log")
                row["other results"] += ended != 0 or contents(folder / "made", case.without, case.keys) != expected
                row["half files"] += len(parts(folder))
            rows.append(row)
    return rows


def write(file: str, title: str, command: str, rows: list[dict[str, Any]]) -> None:
    setting = (
        f"At random moments of their run (seed 0), up to {ROUND} kills one after the other, then the same "
        f"command again; results compared with those of an uninterrupted run. {hardware()}, a machine that was shared"
    )
    write_findings(REPOSITORY / "docs" / "reliability" / f"{file}.json", title, command, setting, rows)
