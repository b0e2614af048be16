"""An application with TLS: the headers of every answer, the redirect, the proxies it trusts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, render_template_string, request, stream_with_context
from werkzeug.test import TestResponse

from quadra_matrix.errors import CertificateRefused, InvalidValue
from quadra_matrix.tls.flask import csp_nonce, setup_tls
from quadra_matrix.tls.headers import AT_ONCE, MOST_NAMES, HeaderOptions, Nonces, SecurityHeaders
from tests.tls.servers import get, trusting, werkzeug_server

HTTPS = "https://shop.test"

EXPECTED = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "0",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
}


def shop(folder: Path) -> Flask:
    """Return an application with an answer of every kind."""
    (folder / "shop.css").write_text("p { color: red }")
    app = Flask("shop", static_folder=str(folder), static_url_path="/static")

    @app.get("/page")
    def page() -> str:
        return render_template_string("<script nonce='{{ csp_nonce() }}'>1</script>{{ csp_nonce() }}")

    @app.get("/nonce")
    def nonce() -> str:
        return csp_nonce()

    @app.post("/upload")
    def upload() -> dict[str, int]:
        return {"bytes": len(request.get_data())}

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield from ("one", "two")

        return Response(parts(), mimetype="text/plain")

    @app.get("/abort/<int:status>")
    def stop(status: int) -> None:
        abort(status)

    @app.get("/fail")
    def fail() -> None:
        raise ZeroDivisionError

    @app.get("/own")
    def own() -> Response:
        return Response(
            "own", headers={"content-security-policy": "default-src 'none'", "x-frame-options": "SAMEORIGIN"}
        )

    @app.get("/peer")
    def peer() -> dict[str, str | None]:
        return {"peer": request.remote_addr, "scheme": request.scheme, "host": request.host}

    return app


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = shop(tmp_path)
    setup_tls(app)
    return app


def ask(app: Flask, path: str, method: str = "GET", base: str = HTTPS, **words: Any) -> TestResponse:
    return app.test_client().open(path, method=method, base_url=base, buffered=True, **words)


# Headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/page", 200),
        ("HEAD", "/page", 200),
        ("OPTIONS", "/page", 200),
        ("GET", "/stream", 200),
        ("GET", "/static/shop.css", 200),
        ("POST", "/upload", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/static/nowhere.css", 404),
        ("POST", "/page", 405),
        ("GET", "/abort/413", 413),
        ("GET", "/abort/429", 429),
        ("GET", "/fail", 500),
    ],
)
def test_every_answer_has_every_header_once(app: Flask, method: str, path: str, status: int) -> None:
    answer = ask(app, path, method)

    assert answer.status_code == status
    held = {name: answer.headers.getlist(name) for name in EXPECTED}
    assert held == {name: [value] for name, value in EXPECTED.items()}
    assert len(answer.headers.getlist("Content-Security-Policy")) == 1


def test_a_304_leaves_the_policy_of_the_cached_page(app: Flask) -> None:
    """Its headers replace those in the cache, where the page with the earlier nonce stands."""
    tag = ask(app, "/static/shop.css").headers["ETag"]

    answer = ask(app, "/static/shop.css", headers={"If-None-Match": tag})

    assert answer.status_code == 304
    assert {name: answer.headers.getlist(name) for name in EXPECTED} == {n: [v] for n, v in EXPECTED.items()}
    assert "Content-Security-Policy" not in answer.headers


def test_headers_that_the_application_sets_are_left_alone(app: Flask) -> None:
    answer = ask(app, "/own")

    assert answer.headers.getlist("Content-Security-Policy") == ["default-src 'none'"]
    assert answer.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_and_its_policy_have_the_same_nonce(app: Flask) -> None:
    answer = ask(app, "/page")

    inside = re.fullmatch(r"<script nonce='([0-9a-f]{32})'>1</script>(.*)", answer.text)
    assert inside is not None
    assert inside[1] == inside[2]
    assert f"script-src 'nonce-{inside[1]}' 'strict-dynamic'" in answer.headers["Content-Security-Policy"]


def test_a_nonce_is_good_for_one_answer(app: Flask) -> None:
    assert ask(app, "/nonce").text != ask(app, "/nonce").text


@pytest.mark.parametrize("path", ["/plain-page", "/nowhere"])
def test_a_page_that_names_no_script_may_run_none(app: Flask, path: str) -> None:
    app.add_url_rule("/plain-page", view_func=lambda: "<p>plain</p>")

    answer = ask(app, path)

    assert answer.content_type.startswith("text/html")
    assert "script-src 'strict-dynamic';" in answer.headers["Content-Security-Policy"]


def test_a_streamed_page_may_read_its_nonce_late(app: Flask) -> None:
    @app.get("/streamed")
    def streamed() -> Response:
        def parts() -> Iterator[str]:
            yield "<script nonce="
            yield csp_nonce()

        return Response(stream_with_context(parts()), mimetype="text/html")

    answer = ask(app, "/streamed")

    nonce = answer.text.partition("nonce=")[2]
    assert f"script-src 'nonce-{nonce}' 'strict-dynamic'" in answer.headers["Content-Security-Policy"]


def test_a_page_with_a_header_of_its_own_keeps_its_nonce(app: Flask) -> None:
    @app.get("/framed")
    def framed() -> Response:
        return Response(f"<script nonce={csp_nonce()}>", headers={"x-FRAME-options": "SAMEORIGIN"})

    answer = ask(app, "/framed")

    assert answer.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
    assert answer.text.partition("nonce=")[2][:32] in answer.headers["Content-Security-Policy"]


def test_no_two_threads_have_the_same_nonce() -> None:
    nonces = Nonces()
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: nonces.take(), range(5000)))

    assert len(set(taken)) == 5000


FORK = """
import os
from quadra_matrix.tls.headers import AT_ONCE, Nonces
nonces = Nonces()
nonces.take()
child = os.fork()
if child:
    os.waitpid(child, 0)
print(*(nonces.take() for _ in range(AT_ONCE)), flush=True)
"""


def test_a_forked_worker_has_not_the_nonces_of_its_parent() -> None:
    """They are drawn many at a time."""
    printed = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)

    assert len(set(printed.stdout.split())) == len(printed.stdout.split()) == 2 * AT_ONCE


def test_names_of_headers_are_not_remembered_without_end(app: Flask) -> None:
    headers = SecurityHeaders(HeaderOptions())
    for number in range(2 * MOST_NAMES):
        headers.completed([(f"X-{number}", "a")], "200 OK", {}, True)

    completed = headers.completed([("x-Frame-OPTIONS", "SAMEORIGIN")], "200 OK", {}, True)

    assert [value for name, value in completed if name.lower() == "x-frame-options"] == ["SAMEORIGIN"]


def test_an_answer_that_is_no_page_has_no_nonce(app: Flask) -> None:
    policy = ask(app, "/stream").headers["Content-Security-Policy"]

    assert "nonce" not in policy
    assert "script-src 'strict-dynamic';" in policy


def test_hsts_is_sent_over_https_only(tmp_path: Path) -> None:
    app = shop(tmp_path)
    setup_tls(app, redirect=False)

    answer = ask(app, "/page", base="http://shop.test")

    assert "Strict-Transport-Security" not in answer.headers
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_each_header_can_be_chosen(tmp_path: Path) -> None:
    app = shop(tmp_path)
    options = HeaderOptions(
        content_security_policy="default-src 'self'",
        hsts_seconds=60,
        hsts_subdomains=True,
        frame_options=None,
    )
    setup_tls(app, headers=options)

    answer = ask(app, "/page")

    assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
    assert answer.headers["Strict-Transport-Security"] == "max-age=60; includeSubDomains"
    assert "X-Frame-Options" not in answer.headers


def test_the_policy_can_be_left_out(tmp_path: Path) -> None:
    app = shop(tmp_path)
    setup_tls(app, headers=HeaderOptions(content_security_policy=None))

    assert "Content-Security-Policy" not in ask(app, "/page").headers


@pytest.mark.parametrize(
    "options", [{"hsts_seconds": -1}, {"referrer_policy": "a\r\nSet-Cookie: b"}, {"frame_options": ""}], ids=str
)
def test_values_that_are_no_header_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        HeaderOptions(**options)


# The redirect


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_plain_http_is_sent_to_https_with_its_method(app: Flask, method: str) -> None:
    answer = ask(app, "/upload?a=1", method, base="http://shop.test:5000")

    assert answer.status_code == 308
    assert answer.headers["Location"] == "https://shop.test/upload?a=1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_redirected_upload_arrives_whole(app: Flask) -> None:
    answer = ask(app, "/upload", "POST", base="http://shop.test", data=b"x" * 5000, follow_redirects=True)

    assert (answer.status_code, answer.get_json()) == (200, {"bytes": 5000})


@pytest.mark.parametrize(
    "asked",
    ["/a%20b/%25/%C3%BC?q=a%20b&c=%25", "/a;b=c,d/(e)", "/%2e%2e//evil.test/", "/%0d%0aSet-Cookie:%20a=b"],
)
def test_the_address_survives(app: Flask, asked: str) -> None:
    answer = ask(app, asked, base="http://shop.test")

    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://shop.test/")
    followed = app.test_request_context(asked, base_url=HTTPS).request
    again = app.test_request_context(answer.headers["Location"]).request
    assert (again.path, again.query_string) == (followed.path, followed.query_string)


def test_another_port_is_named(tmp_path: Path) -> None:
    app = shop(tmp_path)
    setup_tls(app, https_port=8443)

    assert ask(app, "/", base="http://[::1]:80").headers["Location"] == "https://[::1]:8443/"


@pytest.mark.parametrize("host", ["evil.test", "shop.test.evil.test", "a b", "evil.test/shop.test", ""])
def test_a_host_that_is_not_ours_is_not_redirected_to(tmp_path: Path, host: str) -> None:
    app = shop(tmp_path)
    setup_tls(app, hosts=["shop.test"])

    answer = app.test_client().get("/", headers={"Host": host})

    assert answer.status_code == 400
    assert "Location" not in answer.headers


def test_certificate_authorities_are_answered_over_http(tmp_path: Path) -> None:
    app = shop(tmp_path)
    app.add_url_rule("/.well-known/acme-challenge/<token>", view_func=lambda token: token)
    setup_tls(app)

    assert ask(app, "/.well-known/acme-challenge/abc", base="http://shop.test").text == "abc"


# Proxies


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        (0, {"peer": "127.0.0.1", "scheme": "http", "host": "inner.test"}),
        (1, {"peer": "10.0.0.1", "scheme": "https", "host": "shop.test"}),
    ],
)
def test_only_a_stated_number_of_proxies_is_believed(tmp_path: Path, hops: int, expected: dict[str, str]) -> None:
    app = shop(tmp_path)
    setup_tls(app, redirect=False, trusted_hops=hops)
    forwarded = {"X-Forwarded-For": "6.6.6.6, 10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.test"}

    answer = ask(app, "/peer", base="http://inner.test", headers=forwarded)

    assert answer.get_json() == expected
    assert ("Strict-Transport-Security" in answer.headers) is (hops == 1)


@pytest.mark.parametrize("options", [{"trusted_hops": -1}, {"https_port": 0}, {"https_port": 65536}], ids=str)
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        setup_tls(Flask("shop"), **options)


# The context


def test_the_context_serves_what_was_generated(app: Flask, tmp_path: Path) -> None:
    config = setup_tls(app)
    config.generate_self_signed_cert(tmp_path / "mine", 90, "shop.test")

    with werkzeug_server(app, config.create_ssl_context()) as port:
        answer = get(port, "/page", trusting(tmp_path / "mine" / "ca.pem"))

    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_context_without_files_says_which_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CertificateRefused, match=r"certs/cert\.pem: it cannot be read"):
        setup_tls(Flask("shop")).create_ssl_context()


def test_a_certificate_comes_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="key is None; it must be given together with the certificate"):
        setup_tls(Flask("shop")).create_ssl_context(tmp_path / "cert.pem")
