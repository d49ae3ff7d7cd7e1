"""Hold objects to the schemas of some versions of Kubernetes.

Runs in the environment of kubernetes-validate, apart from the tests. Reads a JSON object
from standard input, lists of objects by version; prints a JSON list of complaints.
"""

import json
import sys

import kubernetes_validate as schemas


def complaints(version: str, given: dict[str, object]) -> list[str]:
    """Give what is wrong with an object: the first thing, or nothing."""
    try:
        schemas.validate(given, version, strict=True)
    except schemas.ValidationError as error:
        place = ".".join(map(str, error.path))
        return [f"{version} {given['kind']} {place}: {error.message}"]
    return []


if __name__ == "__main__":
    told = [
        complaint
        for version, objects in json.load(sys.stdin).items()
        for each in objects
        for complaint in complaints(version, each)
    ]
    sys.stdout.write(json.dumps(told))
