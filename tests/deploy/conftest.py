"""What the chart's and the image's tests share."""

import shutil
from pathlib import Path

import pytest

from tests.deploy.charts import CHART, Helm
from tests.deploy.pods import built


@pytest.fixture(scope="session")
def orders(tmp_path_factory):
    """An application's chart that has ours as a dependency, put together by Helm."""
    folder = tmp_path_factory.mktemp("charts")
    shutil.copytree(CHART, folder / "token-gateway")
    shutil.copytree(Path(__file__).parent / "orders", folder / "orders")
    done = Helm("helm4")("dependency", "build", "orders", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "orders"


@pytest.fixture(scope="session")
def image():
    """The real Dockerfile's, built once."""
    with built() as made:
        yield made
