"""What a package shows to others: its modules, and names out of them, each loaded when it is first used."""

import importlib
import pkgutil
import sys
from collections.abc import Callable


def attach(package: str, names: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package; `names`: of its modules the names that others may use."""
    modules = {module.name for module in pkgutil.iter_modules(sys.modules[package].__path__)} - {"__main__"}
    homes = {name: module for module, shown in names.items() for name in shown.split()}
    shown = sorted({*modules, *homes})

    def found(name: str):
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return found, lambda: shown, shown
