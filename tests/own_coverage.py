"""What must be proven by its own tests, to the last branch: `make coverage`.

Each file is measured by its mirror alone, in a process of its own: what another file's
tests happen to run, or leave behind, does not count. Exits with 1 when a line or a
branch is left out, and says which.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
HELD: Final = (
    *sorted((ROOT / "gateway/rules").glob("[a-z]*.py")),
    ROOT / "gateway/gatekeeper.py",
    ROOT / "gateway/facts/cached.py",
    ROOT / "gateway/facts/sealed.py",
)


def mirror(path: Path) -> Path:
    """Give the test file of a file."""
    inside = path.relative_to(ROOT / "gateway")
    return ROOT / "tests" / inside.with_name(f"test_{inside.name}")


def left_out(path: Path) -> str:
    """Run a file's own tests; gives what they leave out, or how they failed."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    measuring = [f"--cov={module}", "--cov-branch", "--cov-fail-under=100"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", *measuring, str(mirror(path))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def troubles() -> Iterator[str]:
    """Measure every file; gives what is wrong with each that is not whole."""
    for path in HELD:
        told = left_out(path)
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'no' if told else 'yes'}\n")
        sys.stdout.flush()
        if told:
            yield told


def main() -> int:
    """Measure; gives the exit code."""
    wrong = list(troubles())
    sys.stdout.write("".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
