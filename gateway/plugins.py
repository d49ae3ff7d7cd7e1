"""The plug-ins there are: modules in their folders, by file name. Floor 4.

A plug-in's file name is its name in configuration; nothing is registered by hand.
"""

import importlib
import importlib.util
import pkgutil
from types import ModuleType
from typing import Any, Final

import gateway.dialects
import gateway.stores
import gateway.verifiers
from gateway.config.registry import Registry


def plugins(package: ModuleType) -> dict[str, Any]:
    """Import every module of a plug-in folder, by file name."""
    return {
        module.name: importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
        if module.name.isidentifier() and not module.name.startswith("_")
    }


def stores_by_scheme() -> dict[str, Any]:
    """Give the store modules by the URL schemes they open."""
    modules = plugins(gateway.stores).values()
    return {scheme: module for module in modules for scheme in module.SCHEMES}


def registry() -> Registry:
    """Tell configuration which plug-ins there are."""
    return Registry(
        dialects=plugins(gateway.dialects),
        verifiers=plugins(gateway.verifiers),
        store_schemes=frozenset(stores_by_scheme()),
        lacking=_lacking(),
    )


_EXTRAS: Final = {
    "authz_grpc": ("grpc", ("grpc", "grpc_health")),
    "tracing": (
        "otel",
        ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    ),
}
"""What needs an extra: its name, and the modules that come with it."""


def _lacking() -> dict[str, str]:
    """Tell what cannot be done here, and what to install for it."""
    return {
        name: f"pip install 'token-gateway[{extra}]'"
        for name, (extra, modules) in _EXTRAS.items()
        if not all(map(_is_there, modules))
    }


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # not even its parent is
        return False
