"""Where the modules beside the tests are found, and the browser."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import browser as browsers  # noqa: E402


@pytest.fixture(scope="session")
def chromium():
    if browsers.missing():
        pytest.skip(browsers.missing())
    with browsers.Browser() as browser:
        yield browser


@pytest.fixture
def page(chromium, tmp_path):
    """Opens a recording; the page must have nothing to complain of afterwards."""
    def opened(made):
        made.write(tmp_path / "profile.html")
        chromium.open(tmp_path / "profile.html")
        return chromium
    chromium.complaints()
    yield opened
    assert chromium.complaints() == []
