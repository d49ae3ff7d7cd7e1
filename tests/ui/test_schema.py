"""The admin API keeps to its own description: schemathesis, over a running demo."""

import importlib.util
import subprocess
import sys

import pytest

from tests.functional.harness import ADMIN_TOKEN

pytestmark = [pytest.mark.ui, pytest.mark.timeout(150)]


def test_the_api_is_as_it_is_described(demo, tmp_path):
    """Every operation, with what fits the description and with what does not."""
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed: extra `ui`")
    base = f"http://127.0.0.1:{demo.ports.admin}"
    done = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("run", f"{base}/api/openapi.json", "--url", base),
            *("--header", f"Authorization: Bearer {ADMIN_TOKEN}"),
            *("--checks", "all", "--max-examples", "40", "--seed", "7", "--no-color"),
            # It guesses the token until nothing else is looked at any more; that all
            # is closed without it, tests/admin/test_views.py proves.
            *("--exclude-checks", "ignored_auth"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 9" in done.stdout
    assert 0 == demo.metric("admin_refused_total", reason="guesses")
