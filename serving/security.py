"""Who may do what. Rights belong to operations, not to addresses, so no route can be forgotten."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path

SHORTEST_KEY = 16


class Operation(enum.StrEnum):
    """What a key may be good for."""

    OPEN = "open"  # needs no key: liveness, readiness, the empty page
    INFER = "infer"  # recommendations, and what the model takes and gives
    METRICS = "metrics"  # load and statistics
    ADMIN = "admin"  # swap and roll back snapshots


class Denied(Exception):
    """Refused; `known` says whether the key exists and only lacks the right."""

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


@dataclasses.dataclass(frozen=True)
class Keys:
    """API keys and their rights; only hashes are kept.

    Attributes:
        rights: By SHA-256 of the key.
    """

    rights: Mapping[bytes, frozenset[Operation]]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Reads one key a line, then its rights: `KEY infer metrics`; `#` begins a comment.

        A key without rights may infer and read metrics.

        Raises:
            ValueError: A line that cannot be used (by number, never by content), or no key.
        """
        rights: dict[bytes, frozenset[Operation]] = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            key, *names = line.partition("#")[0].split() or [""]
            if not key:
                continue
            if len(key) < SHORTEST_KEY:
                raise ValueError(
                    f"line {number} of the key file holds a key of {len(key)} characters; use at "
                    f"least {SHORTEST_KEY}, such as from: openssl rand -hex 32"
                )
            grantable = {o.value: o for o in Operation if o is not Operation.OPEN}
            if unknown := [name for name in names if name not in grantable]:
                raise ValueError(
                    f"line {number} of the key file grants {unknown[0]!r}; there are: "
                    f"{', '.join(grantable)}"
                )
            granted = [grantable[name] for name in names] or [Operation.INFER, Operation.METRICS]
            rights[_digest(key)] = frozenset(granted)
        if not rights:
            raise ValueError("the key file holds no key; write one a line")
        return cls(rights)

    def check(self, presented: str | None, operation: Operation) -> None:
        """Returns if `presented` may do `operation`; the time taken tells nothing of the keys.

        Args:
            presented: Value of the `Authorization` header, `Bearer KEY`.
        Raises:
            Denied: No key, an unknown one, or one without the right.
        """
        if operation is Operation.OPEN:
            return
        scheme, _, key = (presented or "").partition(" ")
        digest = _digest(key.strip())
        found: frozenset[Operation] = frozenset()
        known = False
        for other, rights in self.rights.items():
            if hmac.compare_digest(digest, other):
                found, known = rights, True
        if scheme.lower() != "bearer" or not known:
            raise Denied("send a valid key as: Authorization: Bearer KEY", known=False)
        if operation not in found:
            raise Denied(
                f"this key may not do {operation.value!r}; grant it in the key file", known=True
            )


def check_bind(host: str, *, keyed: bool, insecure: bool) -> None:
    """Refuses to listen to a network without a key.

    Raises:
        ValueError: `host` is not a loopback address and there is no key.
    """
    if not (is_loopback(host) or keyed or insecure):
        raise ValueError(
            f"host {host!r} can be reached from other machines and there is no API key; give "
            "--api-key-file FILE, or --insecure if something else guards the port"
        )


def check_tls(cert: Path, key: Path) -> None:
    """Refuses a certificate and a key that cannot be used together.

    Raises:
        ValueError: One of them is not PEM, or they do not belong to each other.
        OSError: One of them cannot be read.
    """
    for path in (cert, key):
        path.open("rb").close()  # whose errors, unlike those of OpenSSL, say which file
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        reason = "they do not belong together" if "MISMATCH" in str(error) else "one is no PEM file"
        raise ValueError(
            f"--tls-cert {cert} and --tls-key {key} cannot be used: {reason}. Give a certificate "
            "chain and its private key, not encrypted, both in PEM."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_local_caller(host: str | None, origin: str | None) -> None:
    """Keeps web pages off a server that has no keys and listens to this machine alone.

    A page somewhere can make a browser here send requests here (cross-site requests, or DNS that
    is rebound to 127.0.0.1); they carry that page's name in `Host` or `Origin`.

    Raises:
        Denied: One of the two names another machine.
    """
    for header, value in (("Host", host), ("Origin", origin)):
        if value is not None and not is_loopback(_host_of(value)):
            raise Denied(
                f"{header} {value[:80]!r} is not this machine; a server without API keys answers "
                "local callers only (--api-key-file lets others in)",
                known=True,
            )


def _host_of(value: str) -> str:
    """`localhost` of `http://localhost:8000`."""
    authority = value.rpartition("://")[2]
    return authority[: authority.find("]") + 1] or authority.partition(":")[0]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
