"""20,000 damaged files, or NUMBER of the environment, see tests/damaged.py; docs/reliability/damaged_files.json."""

import os
from collections import Counter

import pytest

import damaged
from conftest import REPOSITORY
from cxr_attn_unet.system import hardware
from cxr_attn_unet_dev.tools.reliability import write_findings

NUMBER = int(os.environ.get("NUMBER", "20000"))
COMMAND = f"make soak ARGS=tests/soak/test_soak_damaged.py NUMBER={NUMBER}"


@pytest.mark.soak
def test_every_damaged_file_of_many_is_read_or_refused_by_name():
    faults = []
    outcomes: dict[str, Counter[str]] = {}
    longest = 0.0
    for one in damaged.outcomes(NUMBER):
        family = one["kind"].rpartition(".")[0].removesuffix(".nii").removesuffix(".dcm")
        longest = max(longest, one["seconds"])
        outcomes.setdefault(family, Counter())[one["outcome"].partition(":")[0]] += 1
        if one["outcome"].startswith("FAULT"):
            faults.append(one)
    rows = [
        {
            "kind": family,
            "files": counts.total(),
            "refused by name": counts["refused"],
            "read as before": counts["same"],
            "changed, with a note": counts["noted"],
            "changed: the pixels, or what is said of them": counts["changed"],
            "faults": counts["FAULT"],
        }
        for family, counts in sorted(outcomes.items())
    ]
    setting = (
        f"{NUMBER:,} files with one to three places of damage each, seeds 0 to {NUMBER - 1}; at most "
        f"{damaged.MORE_MEMORY >> 20} MiB beyond what the process had; the longest took {longest:.1f} s of "
        f"{damaged.LONGEST_SECONDS} allowed. {hardware()}, a machine that was shared"
    )
    write_findings(REPOSITORY / "docs" / "reliability" / "damaged_files.json", "Damaged files", COMMAND, setting, rows)
    assert faults == []
