"""The image is made of what was tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PINNED = re.compile(r"(?m)^([A-Za-z0-9._-]+)==([^ \n]+)")
OLDER = {"async-timeout"}
"""Asked for by redis on Python 3.11.0 to 3.11.2, which Debian has."""


def pinned(path: str) -> dict[str, str]:
    """Read the versions of a lock, by name."""
    found = PINNED.findall((ROOT / path).read_text())
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_the_image_has_the_versions_that_were_tested():
    """`make lock` after a change of requirements.lock."""
    tested, image = pinned("requirements.lock"), pinned("deploy/image.lock")

    assert OLDER == image.keys() - tested.keys()
    assert {name: tested[name] for name in image.keys() - OLDER} == {
        name: image[name] for name in image.keys() - OLDER
    }


def test_the_image_has_every_dependency():
    """`make lock` after a change of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + extras["grpc"] + extras["otel"]
    names = {re.split(r"[^A-Za-z0-9._-]", each)[0] for each in asked}

    assert names <= pinned("deploy/image.lock").keys()


def test_every_package_has_its_hashes():
    """A file that is not what it was then is refused by pip."""
    for path in ("deploy/image.lock", "deploy/build.lock"):
        packages = (ROOT / path).read_text().split("\n\n")
        entries = re.split(r"(?m)^(?=[A-Za-z0-9])", packages[0])[1:]

        assert len(entries) == len(pinned(path)) > 0
        assert all("--hash=sha256:" in entry for entry in entries)
