"""Advisories in the OSV format, matched as the format says."""

from __future__ import annotations

import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.errors import ScannerFailed
from quadra_matrix.supply.finding import Severity
from quadra_matrix.supply.osv import match, server, snapshot
from quadra_matrix.supply.pins import Pin

DAY = 86400.0


def advisory(*events: dict[str, str], **more: Any) -> dict[str, Any]:
    affected = {"package": {"ecosystem": "PyPI", "name": "Flask"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": "GHSA-1", "modified": "1970-01-02T00:00:00Z", "affected": [affected], **more}


FIXED = advisory({"introduced": "0"}, {"fixed": "2.2.5"}, {"introduced": "2.3.0"}, {"fixed": "2.3.2"})


def hit(document: dict[str, Any], version: str) -> bool:
    return bool(list(match([document], [Pin("flask", version)])))


@pytest.mark.parametrize(
    ("version", "vulnerable"),
    [("0.1", True), ("2.2.4", True), ("2.2.5", False), ("2.2.9", False), ("2.3.0", True), ("2.3.2rc1", True),
     ("2.3.2", False), ("2.3.10", False)],
)  # fmt: skip
def test_a_version_is_hit_from_its_introduction_to_its_fix(version: str, vulnerable: bool) -> None:
    assert hit(FIXED, version) is vulnerable


@pytest.mark.parametrize(("version", "vulnerable"), [("1.0", True), ("1.0.1", False)])
def test_the_last_affected_version_is_hit_itself(version: str, vulnerable: bool) -> None:
    assert hit(advisory({"introduced": "0"}, {"last_affected": "1.0"}), version) is vulnerable


def test_events_may_stand_in_any_order() -> None:
    assert not hit(advisory({"fixed": "2.0"}, {"introduced": "1.0"}), "2.1")


def test_a_listed_version_is_hit_however_it_is_written() -> None:
    document = advisory()
    document["affected"][0]["versions"] = ["not-a-version", "1.0.0"]

    assert hit(document, "1.0")


def test_an_advisory_without_versions_or_ranges_means_all() -> None:
    document = {**FIXED, "affected": [{"package": {"ecosystem": "PyPI", "name": "flask"}}]}

    assert hit(document, "9")


def test_withdrawn_advisories_and_other_ecosystems_say_nothing() -> None:
    elsewhere = advisory({"introduced": "0"})
    elsewhere["affected"][0]["package"]["ecosystem"] = "npm"

    assert not hit({**FIXED, "withdrawn": "1970-01-02T00:00:00Z"}, "0.1")
    assert not hit(elsewhere, "0.1")


def test_a_finding_says_severity_aliases_and_the_next_fix() -> None:
    (found,) = match(
        [{**FIXED, "aliases": ["CVE-1"], "database_specific": {"severity": "MODERATE"}}], [Pin("flask", "2.3.1")]
    )

    assert (found.severity, found.aliases, found.fixed_in) == (Severity.MEDIUM, ("CVE-1",), "2.3.2")


def test_an_advisory_without_a_rating_is_unrated() -> None:
    (found,) = match([FIXED], [Pin("flask", "1")])

    assert found.severity is Severity.UNRATED


def test_versions_that_cannot_be_compared_are_no_clean_bill() -> None:
    with pytest.raises(ScannerFailed, match="GHSA-1"):
        hit(advisory({"introduced": "0"}, {"fixed": "tomorrow"}), "1")


def test_a_zip_of_advisories_is_read_as_a_folder_is(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.json").write_text(json.dumps(FIXED))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.json", json.dumps(FIXED))

    from_folder, from_zip = (
        snapshot(tmp_path / place, [Pin("flask", "1")], now=2 * DAY, oldest=7) for place in ("folder", "all.zip")
    )

    assert from_folder == from_zip
    assert len(from_zip.findings) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "holds no advisory"), ("{", "cannot be read"), ('{"id": "x"}', "when it was modified")],
)
def test_a_snapshot_that_is_empty_or_broken_fails(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "a.json").write_text(text)

    with pytest.raises(ScannerFailed, match=said):
        snapshot(tmp_path, [Pin("flask", "1")], now=DAY, oldest=7)


def test_an_old_snapshot_fails(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(FIXED))

    with pytest.raises(ScannerFailed, match="8 days old"):
        snapshot(tmp_path, [Pin("flask", "9")], now=9 * DAY, oldest=7)


def test_a_snapshot_that_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(ScannerFailed):
        snapshot(tmp_path / "none.zip", [], now=DAY, oldest=7)


def test_a_server_that_is_away_fails() -> None:
    with pytest.raises(ScannerFailed, match="flask could not be looked up"):
        server("http://127.0.0.1:1", [Pin("flask", "1")])


class Pages(BaseHTTPRequestHandler):
    """An OSV server with one advisory, on the second page."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"vulns": [FIXED]} if asked.get("page_token") else {"vulns": [], "next_page_token": "2"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def test_a_server_is_asked_until_its_last_page() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            done = server(f"http://127.0.0.1:{http.server_port}/", [Pin("flask", "1")])
        finally:
            http.shutdown()
            thread.join()

    assert (done.looked_at, [each.rule for each in done.findings]) == (1, ["GHSA-1"])
