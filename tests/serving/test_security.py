"""Keys, rights, and which addresses may be listened to."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from serving.security import Denied, Keys, Operation, check_bind, check_local_caller

READER, CHIEF = "reader-0123456789", "chief-0123456789abc"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    file = tmp_path / "keys"
    file.write_text(f"# who\n{READER}\n\n{CHIEF} admin infer  # both\n")
    return Keys.read(file)


@pytest.mark.parametrize(
    ("key", "allowed"),
    [(READER, {"open", "infer", "metrics"}), (CHIEF, {"open", "infer", "admin"})],
)
def test_keys_give_the_rights_of_their_line(keys: Keys, key: str, allowed: set[str]) -> None:
    for operation in Operation:
        if operation.value in allowed:
            keys.check(f"Bearer {key}", operation)
        else:
            with pytest.raises(Denied, match="may not do") as caught:
                keys.check(f"bearer {key}", operation)
            assert caught.value.known


@pytest.mark.parametrize(
    "presented",
    [None, "", READER, f"Basic {READER}", "Bearer ", f"Bearer {READER}x", "Bearer \udcff"],
)
def test_unknown_keys_open_nothing_but_what_is_open(keys: Keys, presented: str | None) -> None:
    keys.check(presented, Operation.OPEN)
    for operation in (Operation.INFER, Operation.METRICS, Operation.ADMIN):
        with pytest.raises(Denied) as caught:
            keys.check(presented, operation)
        assert not caught.value.known
        assert READER not in str(caught.value)


def test_every_key_is_compared_in_constant_time(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys.check(f"Bearer {READER}", Operation.INFER)
    assert compared == [hashlib.sha256(key.encode()).digest() for key in (READER, CHIEF)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        ("short\n", "line 1 of the key file holds a key of 5 characters"),
        (f"{READER}\n{CHIEF} root\n", "line 2 of the key file grants 'root'; there are: infer"),
        (f"{CHIEF} open\n", "grants 'open'"),
    ],
)
def test_rejects_key_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        Keys.read(file)
    assert CHIEF not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_bind(host, keyed=False, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_rejects_a_network_without_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="--api-key-file FILE, or --insecure"):
        check_bind(host, keyed=False, insecure=False)
    check_bind(host, keyed=True, insecure=False)
    check_bind(host, keyed=False, insecure=True)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (None, None),
        ("localhost:8000", None),
        ("127.0.0.1", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_local_callers_are_let_in(host: str | None, origin: str | None) -> None:
    check_local_caller(host, origin)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("localhost.evil.example:80", None),
        ("localhost", "https://evil.example"),
        ("localhost", "null"),
        ("", None),
    ],
)
def test_rejects_callers_that_a_web_page_sends(host: str, origin: str | None) -> None:
    with pytest.raises(Denied, match="is not this machine"):
        check_local_caller(host, origin)
