"""Gives the configs of this bundle the package that the bundle carries, from any working directory.

The configs ask for it as ``@package``. Several bundles in one process share one package, which works as long as all
carry the same version; another version is refused, for it might be the wrong code.
"""

import importlib
import re
import sys
from pathlib import Path

NAME = "cxr_attn_unet"


def carried():
    """The package, from this bundle's folder if it was not imported before.

    Raises:
        ImportError: another version of it was imported before.
    """
    root = Path(__file__).resolve().parent
    text = (root / NAME / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"', text, re.MULTILINE)
    package = sys.modules.get(NAME)
    if package is None:
        sys.path.insert(0, str(root))
        package = importlib.import_module(NAME)
    if package.__version__ != version:
        raise ImportError(
            f"{root} needs {NAME} {version}, but {package.__version__} is loaded from {package.__file__}. "
            "Use bundles of one version, or run each in a process of its own."
        )
    return package


package = carried()
