"""What a package shows to others: its modules, and names out of them, each loaded when it is first used."""

import importlib
from collections.abc import Callable


def attach(package: str, modules: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package; `modules`: of each module the names that others may use."""
    homes = {name: module for module, names in modules.items() for name in names.split()}
    shown = sorted({*modules, *homes})

    def found(name: str):
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return found, lambda: shown, shown
