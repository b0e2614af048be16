"""The pages in a real browser without a network: they render, break no rule of their policy, run nothing foreign."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask, abort
from playwright.sync_api import Browser, Page, sync_playwright

from quadra_matrix.api.flask import setup_api_documentation
from quadra_matrix.api.flask.pages import REDOC_STYLES, package_file
from tests.api.example_app import make_app
from tests.api.serving import served
from tests.services.process import needs

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Watched:
    """A page, what it complained about and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = needs("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS, headless=True)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(make_app()[0]) as found:
        yield found


@pytest.fixture(scope="module")
def hostile_address() -> Iterator[str]:
    """Yield the address of an app with a docstring that wants to run something."""
    with served(make_app(hostile=True)[0]) as found:
        yield found


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    page = browser.new_page()
    seen = Watched(page)
    page.on("console", lambda message: seen.complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith((address, "data:")) else seen.outside.append(asked.url)
    )
    yield seen
    page.close()


def sha256(style: str) -> str:
    """Return a style as a content policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def assert_clean(seen: Watched) -> None:
    assert seen.complaints == []
    assert seen.outside == []


@pytest.mark.slow
def test_swagger_ui_renders_and_try_it_out_works(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(f"{address}/api/docs")

    page.locator("#operations-items-add button.opblock-summary-control").click()
    page.locator("#operations-items-add button.try-out__btn").click()
    page.locator("#operations-items-add button.execute").click()
    status = page.locator("#operations-items-add .live-responses-table tbody .response-col_status").first
    status.wait_for()

    assert status.inner_text().split()[0] == "201"
    assert_clean(watched)


@pytest.mark.slow
def test_a_hostile_docstring_runs_nothing_in_swagger_ui(browser: Browser, hostile_address: str) -> None:
    page = browser.new_page()
    page.goto(f"{hostile_address}/api/docs")

    page.locator("#operations-default-find button.opblock-summary-control").click()
    page.locator("#operations-default-find .opblock-description").get_by_text("Click").click()

    assert page.locator("a[href^='javascript']").count() == 0
    assert page.evaluate("window.hacked") is None
    page.close()


@pytest.mark.slow
def test_a_hostile_docstring_runs_nothing_in_redoc(browser: Browser, hostile_address: str) -> None:
    """ReDoc cleans the text, but only after a first look at it that would load images; the policy stops their code."""
    page = browser.new_page()
    page.goto(f"{hostile_address}/api/redoc")

    page.get_by_text("Sorted by").first.wait_for()
    page.get_by_text("Click").first.click()

    assert page.locator("a[href^='javascript']").count() == 0
    assert page.evaluate("window.hacked") is None
    page.close()


@pytest.mark.slow
def test_redoc_renders(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(f"{address}/api/redoc")
    page.get_by_text("List what is for sale.").first.wait_for()

    page.get_by_role("heading", name="Offer an item.").first.wait_for()
    styles = page.evaluate("[...document.querySelectorAll('style')].filter(s => !s.nonce).map(s => s.textContent)")

    assert {sha256(style) for style in styles} <= set(re.findall(r"sha256-[^']+", REDOC_STYLES))
    assert page.get_by_role("heading", name="Shop").count() >= 1
    assert_clean(watched)


@pytest.mark.slow
def test_the_messages_page_renders_without_a_script(watched: Watched, address: str) -> None:
    watched.page.goto(f"{address}/api/asyncapi")

    text = watched.page.locator("main").inner_text()

    assert "/ws/prices" in text
    assert re.search(r"Rose\s+from the service", text)
    assert re.search(r"Watch\s+from the client", text)
    assert_clean(watched)


def test_the_policy_is_on_the_pages_only() -> None:
    client = make_app()[0].test_client()

    assert "script-src 'self'" in client.get("/api/docs").headers["Content-Security-Policy"]
    assert "unsafe" not in client.get("/api/redoc").headers["Content-Security-Policy"]
    assert "Content-Security-Policy" not in client.get("/items").headers


def test_every_page_view_has_a_nonce_of_its_own() -> None:
    client = make_app()[0].test_client()

    policies = {client.get("/api/redoc").headers["Content-Security-Policy"] for _ in range(3)}

    assert len(policies) == 3


def test_the_allowed_empty_style_is_the_hash_of_nothing() -> None:
    assert sha256("") in make_app()[0].test_client().get("/api/redoc").headers["Content-Security-Policy"]


def test_redoc_is_served_without_the_address_of_another_host() -> None:
    served_script = make_app()[0].test_client().get("/api/docs/ui/redoc.standalone.js")

    assert b"cdn.redoc.ly" in package_file("redoc.standalone.js").read_bytes()
    assert b"cdn.redoc.ly" not in served_script.data
    assert served_script.headers["X-Content-Type-Options"] == "nosniff"


def test_an_unchanged_script_is_not_sent_twice() -> None:
    client = make_app()[0].test_client()
    first = client.get("/api/docs/ui/redoc.standalone.js")

    again = client.get("/api/docs/ui/redoc.standalone.js", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304


def test_only_the_known_files_are_served() -> None:
    client = make_app()[0].test_client()

    assert client.get("/api/docs/ui/plugins.py").status_code == 404
    assert client.get("/api/docs/own/../flask/pages.py").status_code == 404


def test_pages_can_be_switched_off() -> None:
    app = Flask("quiet")
    setup_api_documentation(app, pages=False)

    assert app.test_client().get("/api/docs").status_code == 404
    assert app.test_client().get("/api/openapi.json").status_code == 200


@pytest.mark.parametrize("path", ["docs", "redoc", "asyncapi", "openapi.json", "openapi-3.1.json", "asyncapi.json"])
def test_a_guard_stands_before_pages_and_documents(path: str) -> None:
    app = Flask("closed")
    setup_api_documentation(app, guard=lambda: abort(401))
    app.add_url_rule("/open", "open", lambda: "in")

    assert app.test_client().get(f"/api/{path}").status_code == 401
    assert app.test_client().get("/open").status_code == 200
