"""Keys: what they look like, that only the right one holds, and how soon a revoked one does not."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.access.identity import Identity, Via, require_scope
from quadra_matrix.access.keyring import GRACE, RECHECK, Keyring, OwnChanges
from quadra_matrix.access.keys import SCANNED, _check, csrf_token, digest, draw, pepper, read
from quadra_matrix.errors import AccessUndecided, DatabaseUnavailable, InvalidValue, Unauthenticated, UnknownKey
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.keys import SqlKeys
from quadra_matrix.store.keys import KeyKind, KeyRecord, KeyStore
from quadra_matrix.testing import FakeClock, MemoryKeys

PEPPER = pepper("a secret of the service, long enough to be one")


class CountedKeys(MemoryKeys):
    """Keys in memory that count how often they are asked, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.is_away = False

    def find(self, key_id: str) -> KeyRecord | None:
        self.asked += 1
        if self.is_away:
            raise DatabaseUnavailable("it is away")
        return super().find(key_id)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept() -> CountedKeys:
    return CountedKeys()


@pytest.fixture
def keyring(kept: CountedKeys, clock: FakeClock) -> Keyring:
    return Keyring(kept, [PEPPER], clock=clock)


def why(keyring: Keyring, text: str, kind: KeyKind = KeyKind.API) -> str:
    with pytest.raises(Unauthenticated) as refused:
        keyring.identify(text, kind)
    return refused.value.reason


def test_a_key_is_read_as_it_was_drawn() -> None:
    for kind in KeyKind:
        shown = draw(kind)

        assert read(shown.text) == shown
        assert re.fullmatch(SCANNED, shown.text)
        assert shown.text not in repr(shown)


@given(st.text(max_size=80))
def test_no_other_text_is_a_key(text: str) -> None:
    assert read(text) is None


@given(at=st.integers(17, 54), letter=st.characters(codec="ascii", categories=["L", "N"]))
def test_one_wrong_letter_is_noticed_without_a_look_up(at: int, letter: str) -> None:
    text = "qmx_0123456789ab_0123456789abcdefghijklmnopqrstuv"
    whole = text + _check(text)

    changed = whole[:at] + letter + whole[at + 1 :]

    assert (read(changed) is None) == (changed != whole)


def test_the_hash_depends_on_the_service_and_on_the_use() -> None:
    text = draw(KeyKind.API).text

    assert digest(text, PEPPER) != digest(text, pepper("another secret"))
    assert csrf_token(text) not in (digest(text, PEPPER), text)
    assert len({csrf_token(draw(KeyKind.SESSION).text) for _ in range(20)}) == 20


def test_a_key_holds_and_nothing_of_its_secret_is_kept(keyring: Keyring, kept: CountedKeys) -> None:
    record, text = keyring.create("ci", ["read", "write", "read"])

    found = keyring.identify(text, KeyKind.API)

    assert found == Identity(f"key:{record.id}", "ci", frozenset({"read", "write"}), Via.KEY, None, record.id)
    assert text[17:] not in repr(kept.list())
    assert text[17:] not in str([dataclasses.asdict(each) for each in kept.list()])


def test_a_key_that_was_found_good_is_not_looked_up_again(
    keyring: Keyring, kept: CountedKeys, clock: FakeClock
) -> None:
    text = keyring.create("ci", ["read"])[1]

    for _ in range(100):
        keyring.identify(text, KeyKind.API)
    assert kept.asked == 1

    clock.advance(RECHECK)
    keyring.identify(text, KeyKind.API)
    assert kept.asked == 2


def test_another_process_of_this_machine_sees_a_revocation_with_its_next_request(clock: FakeClock) -> None:
    kept, changes = MemoryKeys(), OwnChanges()
    mine, other = (Keyring(kept, [PEPPER], changes=changes, clock=clock) for _ in range(2))
    record, text = mine.create("ci", ["read"])
    other.identify(text, KeyKind.API)

    mine.revoke(record.id)

    assert (why(mine, text), why(other, text)) == ("revoked", "revoked")


def test_another_machine_sees_a_revocation_within_the_bound(clock: FakeClock) -> None:
    kept = MemoryKeys()
    mine, other = (Keyring(kept, [PEPPER], clock=clock) for _ in range(2))
    record, text = mine.create("ci", ["read"])
    other.identify(text, KeyKind.API)

    mine.revoke(record.id)
    clock.advance(RECHECK)

    assert why(other, text) == "revoked"


def test_a_key_ends_when_it_expires_to_the_moment(keyring: Keyring, clock: FakeClock) -> None:
    text = keyring.create("ci", ["read"], seconds=1.0)[1]
    keyring.identify(text, KeyKind.API)

    clock.advance(1.0)

    assert why(keyring, text) == "expired"


def test_a_known_key_outlives_a_database_that_is_away_and_no_other_does(
    keyring: Keyring, kept: CountedKeys, clock: FakeClock
) -> None:
    known, unknown = (keyring.create("ci", ["read"])[1] for _ in range(2))
    keyring.identify(known, KeyKind.API)
    kept.is_away = True

    clock.advance(GRACE / 2)
    keyring.identify(known, KeyKind.API)
    asked = kept.asked
    keyring.identify(known, KeyKind.API)
    assert kept.asked == asked, "the database is asked again by every request while it is away"
    with pytest.raises(AccessUndecided):
        keyring.identify(unknown, KeyKind.API)

    clock.advance(GRACE / 2)
    with pytest.raises(AccessUndecided):
        keyring.identify(known, KeyKind.API)


def test_keys_of_an_earlier_secret_hold_and_those_of_a_strange_one_do_not(clock: FakeClock) -> None:
    kept, before = MemoryKeys(), pepper("the secret before")
    text = Keyring(kept, [before], clock=clock).create("ci", ["read"])[1]

    assert Keyring(kept, [PEPPER, before], clock=clock).identify(text, KeyKind.API).name == "ci"
    assert why(Keyring(kept, [PEPPER], clock=clock), text) == "unknown"


def test_a_session_is_no_key_and_a_key_no_session(keyring: Keyring) -> None:
    holder = keyring.identify(keyring.create("ada", ["operate"])[1], KeyKind.API)
    text = keyring.open_session(holder, 3600)[1]

    assert keyring.identify(text, KeyKind.SESSION).subject == holder.subject
    assert why(keyring, text) == "malformed"
    keyring.identify(text, KeyKind.SESSION)


def test_a_session_ends_with_its_key(keyring: Keyring, clock: FakeClock) -> None:
    record, key = keyring.create("ada", ["operate"], seconds=60)
    holder = keyring.identify(key, KeyKind.API)
    short, text = keyring.open_session(holder, 3600)

    assert short.expires == record.expires
    keyring.revoke(record.id)
    assert why(keyring, text, KeyKind.SESSION) == "revoked"


def test_the_memory_of_one_process_is_bounded(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadra_matrix.access.keyring.MOST_SEEN", 3)
    texts = [keyring.create("ci", ["read"])[1] for _ in range(10)]

    for text in texts:
        keyring.identify(text, KeyKind.API)

    assert len(keyring._seen) <= 3


@pytest.mark.parametrize(
    ("name", "scopes", "seconds"),
    [("", ["read"], None), ("a\nb", ["read"], None), ("a", [], None), ("a", ["READ"], None), ("a", ["public"], None),
     ("a", ["read"], 0)],
)  # fmt: skip
def test_a_bad_key_is_refused(keyring: Keyring, name: str, scopes: list[str], seconds: float | None) -> None:
    with pytest.raises(InvalidValue):
        keyring.create(name, scopes, seconds=seconds)


def test_a_pepper_is_required() -> None:
    for peppers in ([], [b"short"]):
        with pytest.raises(InvalidValue, match="peppers"):
            Keyring(MemoryKeys(), peppers)


def test_every_scope_is_a_word_or_everything() -> None:
    assert [require_scope(scope) for scope in ("read", "datasets:write", "*")] == ["read", "datasets:write", "*"]


def record(key_id: str, created: float = 1.0, **fields: object) -> KeyRecord:
    made = KeyRecord(key_id, KeyKind.API, "0" * 64, f"key:{key_id}", "ada", ("read",), created, None)
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


class Contract:
    """What every store of keys does."""

    def test_it_keeps_what_it_is_given(self, store: KeyStore) -> None:
        first, second = record("one", expires=9.5), record("two", 2.0, scopes=("*", "read"), parent="x")
        store.add(first)
        store.add(second)

        assert (store.find("one"), store.find("none")) == (first, None)
        assert [*store.list()] == [second, first]

    def test_it_revokes_a_key_with_its_sessions_once(self, store: KeyStore) -> None:
        store.add(record("one"))
        store.add(record("session", kind=KeyKind.SESSION, expires=99.0, parent="one"))
        store.add(record("other"))

        assert store.revoke("one", 5.0).revoked == 5.0
        assert store.revoke("one", 6.0).revoked == 5.0

        ended = {name: found.revoked for name in ("one", "session", "other") if (found := store.find(name))}
        assert ended == {"one": 5.0, "session": 5.0, "other": None}
        with pytest.raises(UnknownKey):
            store.revoke("none", 5.0)

    def test_it_forgets_sessions_that_are_over_and_lists_none(self, store: KeyStore) -> None:
        store.add(record("over", kind=KeyKind.SESSION, expires=2.0))
        store.add(record("held", kind=KeyKind.SESSION, expires=9.0))
        store.add(record("expired", expires=2.0))

        store.add(record("new", 5.0))

        assert [store.find(name) is not None for name in ("over", "held", "expired")] == [False, True, True]
        assert [each.id for each in store.list()] == ["new", "expired"]


class TestKeysInMemory(Contract):
    @pytest.fixture
    def store(self) -> KeyStore:
        return MemoryKeys()


class TestKeysInADatabase(Contract):
    @pytest.fixture
    def store(self, database: Database) -> KeyStore:
        return SqlKeys(database)


def test_a_key_ends_at_the_first_of_its_ends() -> None:
    assert [record("x", expires=at, revoked=3.0).ends() for at in (None, 2.0, 9.0)] == [3.0, 2.0, 3.0]
    assert record("x").ends() is None


def test_a_missing_table_is_away(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(AccessUndecided):
        Keyring(SqlKeys(database), [PEPPER]).identify(draw(KeyKind.API).text, KeyKind.API)
    database.close()
