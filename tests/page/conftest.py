"""A browser for all tests of the page, and a page that is watched for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.browser import Watch, chromium
from tests.serving import PATIENCE

Open = Callable[..., Page]
expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not for the session: Playwright's event loop would be in the way of tests that run one of their own."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def watches() -> dict[Page, Watch]:
    return {}


@pytest.fixture
def open_page(browser: Browser, watches: dict[Page, Watch]) -> Iterator[Open]:
    """Open the page of the service at an address, in a browser that looks as the options say."""
    with ExitStack() as opened:

        def open_page(address: str, **options: Any) -> Page:  # noqa: ANN401  Playwright's own
            context = browser.new_context(**options)
            opened.callback(context.close)
            page = context.new_page()
            watches[page] = Watch(page)
            page.goto(address)
            return page

        yield open_page
        for page, watch in watches.items():
            watch.check(page)


@pytest.fixture
def page(open_page: Open, client: httpx.Client) -> Page:
    """The page of a service with default settings."""
    return open_page(str(client.base_url))


@pytest.fixture
def watch(watches: dict[Page, Watch], page: Page) -> Watch:
    return watches[page]
