"""Compile the way of a request ahead of time, when asked to. A build hook of hatchling.

    GATEWAY_COMPILE=1 pip wheel --no-deps .     needs a C compiler and Python's headers

The same sources, typed as they are, become C by mypyc: half the time of a request. What
is not compiled runs beside it unchanged, so a checkout, an editable install and a plain
wheel need no compiler and behave the same; `make compiled` proves that they do.

What a compiled module may not have, wherever it is listed below: classes made by a
metaclass of others (`msgspec.Struct`, in `values.facts` and such), bases that are not
compiled, an alias of a method in a class's body, and attributes that C takes for
words of its own once they have another underscore (`_thread`, `_unix`).
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "facts/cached.py",
    "facts/fingerprints.py",
    "facts/marks.py",
    "facts/shelf.py",
    "fronts/proxy.py",
    "fronts/reception.py",
    "fronts/traced.py",
    "fronts/visit.py",
    "gatekeeper.py",
    "observe/access_log.py",
    "observe/lines.py",
    "observe/metrics.py",
    "observe/tally.py",
    "rules/credentials.py",
    "rules/forwarded.py",
    "rules/headers.py",
    "rules/policy.py",
    "rules/response_headers.py",
    "rules/routing.py",
    "rules/scopes.py",
    "rules/target.py",
    "values/decisions.py",
    "values/requests.py",
    "values/routes.py",
    "values/upstreams.py",
    "wire/chunked.py",
    "wire/deadlines.py",
    "wire/downstream.py",
    "wire/entrance.py",
    "wire/heads.py",
    "wire/message.py",
    "wire/pool.py",
    "wire/relay.py",
    "wire/request_body.py",
    "wire/request_heads.py",
    "wire/targets.py",
    "wire/upstream.py",
)
"""What every request passes through."""


def wanted() -> bool:
    """Tell whether this build is to be compiled."""
    return os.environ.get("GATEWAY_COMPILE", "") not in ("", "0")


class CompiledBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to a wheel, beside their sources."""

    def dependencies(self) -> list[str]:
        """Give what compiling needs, beyond what building does."""
        return ["mypy==2.4.1", "setuptools>=80"] if wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless this is the wheel of an editable install."""
        if not wanted() or version == "editable":
            return
        folder = Path(tempfile.mkdtemp(prefix="gateway-compiled-"))
        compile_into(Path(self.root), folder)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for library in folder.joinpath("lib").rglob("*.so"):
            inside = library.relative_to(folder / "lib").as_posix()
            build_data["force_include"][str(library)] = inside


def compile_into(root: Path, folder: Path) -> None:
    """Leave the compiled modules in `folder`/lib, as they belong in a wheel."""
    from mypyc.build import mypycify  # noqa: PLC0415 -- only where it is wanted
    from setuptools import Distribution  # noqa: PLC0415

    before = Path.cwd()
    os.chdir(root)  # mypyc names modules by their paths from here
    try:
        extensions = mypycify(
            [
                "--config-file=",
                "--ignore-missing-imports",
                "--check-untyped-defs",
                f"--python-executable={sys.executable}",
                *(f"gateway/{name}" for name in COMPILED),
            ],
            opt_level="3",
            debug_level="0",
            target_dir=str(folder / "c"),
            group_name="gateway",
        )
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = str(folder / "lib")
        command.build_temp = str(folder / "o")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
