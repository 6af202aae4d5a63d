"""Names of version 0.1.0 that have changed: they still work, and say what replaces them."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import Any, TypeVar, cast

__all__ = ["MODULES", "FormerModules", "current_module", "renamed_parameter", "setting", "warn_of_former_name"]

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable)
PACKAGE = "cxr_attn_unet"
# former module of the package: where its content is now; modules inside a former package follow it
MODULES = {
    "handlers": "training.handlers",
    "measurements": "analysis.measurements",
    "metrics": "training.metrics",
    "precision": "training.precision",
    "quality": "analysis.quality",
    "report": "output.report",
    "segmenter": "inference.segmenter",
    "views": "inference.test_time_augmentation",
    "writers": "output",
}


def warn_of_former_name(old: str, new: str, depth: int = 3) -> None:
    """Warn that a name has changed; a ``FutureWarning``, which Python shows unless it is told not to.

    Args:
        old: the name that was used.
        new: the name that replaces it.
        depth: of the caller's caller, see ``stacklevel`` of :func:`warnings.warn`.
    """
    warnings.warn(f"{old} is now called {new}. Use the new name.", FutureWarning, stacklevel=depth)


def current_module(name: str) -> str | None:
    """Full name of the module that has the content of a former one; ``None`` if the name is not a former one.

    Args:
        name: full name, such as ``cxr_attn_unet.handlers.guards``.
    """
    package, _, inside = name.partition(".")
    first, dot, rest = inside.partition(".")
    if package != PACKAGE or first not in MODULES:
        return None
    return f"{PACKAGE}.{MODULES[first]}{dot}{rest}"


class FormerModules(MetaPathFinder, Loader):
    """Lets Python import modules by their former names: the same module, not a second copy of it."""

    def __init__(self) -> None:
        self._own_specs: dict[str, ModuleSpec | None] = {}

    @classmethod
    def install(cls) -> None:
        """Have Python ask this finder, before all others; once, however often it is called."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """The specification of a former module; ``None`` for all other modules."""
        new = current_module(fullname)
        if new is None or find_spec(new) is None:
            return None
        return spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that has the content now."""
        new = str(current_module(spec.name))
        warn_of_former_name(spec.name, new)
        module = import_module(new)
        self._own_specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run; the module gets its own specification back, which Python has just replaced."""
        former = module.__spec__.name if module.__spec__ else ""
        module.__spec__ = self._own_specs.pop(former, module.__spec__)


def renamed_parameter(old: str, new: str) -> Callable[[Function], Function]:
    """Decorator: let a function, or a constructor, take a keyword argument by its former name as well.

    Args:
        old: former name of the argument.
        new: its name now.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def accepting(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                warn_of_former_name(f"{old} of {function.__qualname__}", new)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(Function, accepting)

    return decorate


def setting(name: str, value: Any, **former: Any) -> Any:
    """Value of a setting at the head of a config, which may be overridden by its former name as well.

    Args:
        name: of the setting.
        value: its value.
        former: by former name, the value given by that name; ``None`` where it is not used.

    Returns:
        the value given by a former name, after a message in the log that names the present one; else ``value``.

    Example:
        >>> setting("ema_share", 0.1, average=None)
        0.1
    """
    for old, given in former.items():
        if given is not None:
            # a message in the log: those who run a bundle by command see it even if Python's warnings are switched off
            logger.warning(f"--{old} is now called --{name}; its value {given} is used. Use the new name.")
            return given
    return value
