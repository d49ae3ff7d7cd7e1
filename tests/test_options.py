import subprocess
import sys

HEAVY = ("aiohttp", "pydantic", "cryptography")


def test_light_commands_stay_light():
    """`gateway health` runs every few seconds: it does not load what others need."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, gateway.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert not {*HEAVY} & {*told.stdout.split()}
