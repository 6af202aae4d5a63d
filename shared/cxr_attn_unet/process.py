"""Settings of a whole process, which a library must not touch: for the command and for the processes that it starts."""

from __future__ import annotations

import logging
import os
import warnings

__all__ = ["prepare_process", "quieten"]


def prepare_process() -> None:
    """Settings of this process; before PyTorch is imported, which reads some."""
    # threads that wait for work sleep rather than spin, which would take the cores from other programs and from itself
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    quieten()


def quieten() -> None:
    """Hide warnings that are not for a user of the command.

    MONAI and Ignite warn while they are imported, pydicom of values that break the standard and do not matter here.
    """
    warnings.filterwarnings("ignore")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.ERROR)
