"""What a package shows to others: names that load the module they live in when they are first used."""

import importlib
from collections.abc import Callable


def attach(package: str, modules: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package; `modules`: of each module the names that others may use."""
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def found(name: str):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return found, lambda: sorted(homes), sorted(homes)
