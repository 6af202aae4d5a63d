"""The command without a radiograph."""

import subprocess
import sys

import pytest

from conftest import EXAMPLES, REPOSITORY
from cxr_attn_unet import __version__
from cxr_attn_unet.__main__ import main

RADIOGRAPH = EXAMPLES / "open_radiographs" / "00cfd1c1.png"


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"cxr-attn-unet {__version__}"


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "segment" in capsys.readouterr().out


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The modules that a process has imported when it has segmented a radiograph."""
    output = tmp_path_factory.mktemp("start")
    command = ["-m", "cxr_attn_unet", "segment", str(RADIOGRAPH), "-o", str(output), "--structures", "heart"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    # a package that was not found has a line too, which then names a module that nobody may import
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize(
    "module",
    [
        *("ignite.engine.engine", "tensorboard.summary", "matplotlib.figure", "scipy.signal._signaltools"),
        *("scipy.stats._stats_py", "pandas.core", "torch.distributed.fsdp", "sympy.core", "torch._dynamo"),
        *("highdicom.seg", "pydicom.sr.codedict", "cxr_attn_unet.training", "onnxruntime", "openvino"),
    ],
)
def test_segment_does_not_import(imported, module):
    assert module not in imported


def test_segment_imports_what_it_needs(imported):
    assert {"torch", "monai.bundle", "cxr_attn_unet.inference.segmenter"} <= imported


def test_what_was_hidden_while_the_command_started_can_be_imported_later():
    program = (
        "from cxr_attn_unet import __main__\n"
        "with __main__._quick_imports():\n    from cxr_attn_unet import io\n"
        "import scipy.signal, sys\nsys.exit(scipy.signal is None)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
