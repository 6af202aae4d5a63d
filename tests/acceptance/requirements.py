"""Prints what a bundle's metadata require, as pip takes it: python tests/acceptance/requirements.py metadata.json"""

import json
import sys
from pathlib import Path

metadata = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
packages = {"monai": metadata["monai_version"], "numpy": metadata["numpy_version"]}
print(*(f"{name}=={version}" for name, version in {**packages, **metadata["required_packages_version"]}.items()))
