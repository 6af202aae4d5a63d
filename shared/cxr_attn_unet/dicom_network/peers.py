"""The other side: where it is, how it is proved who it is and who we are, and what goes wrong with it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

__all__ = [
    "DICOM",
    "DICOM_TLS",
    "Address",
    "Credentials",
    "Destination",
    "PeerError",
    "Tls",
    "check_packages",
    "parse_address",
    "parse_title",
]

DICOM = "dicom"
DICOM_TLS = "dicoms"
WEB = ("http", "https")
DICOM_PORT = 104
LONGEST_TITLE = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PeerError(RuntimeError):
    """The other side could not be reached, or did not do as it was asked.

    The message goes to logs: it names no patient, no UID and nothing that is secret.
    """


class Destination(Protocol):
    """Where results go."""

    def store(self, paths: Sequence[Path]) -> None:
        """Store DICOM files, all of them; those that it has already are no error.

        Raises:
            PeerError: one could not be stored.
        """


@dataclass(frozen=True)
class Address:
    """An address as it was given.

    Attributes:
        url: all of it.
        scheme: ``http`` or ``https`` of DICOMweb; ``dicom``, or with TLS ``dicoms``, of C-STORE.
        host: name or number.
        port: of the host.
        title: AE title of the other side; empty of DICOMweb.
    """

    url: str
    scheme: str
    host: str
    port: int
    title: str = ""

    @property
    def is_web(self) -> bool:
        """Whether it is DICOMweb's."""
        return self.scheme in WEB

    @property
    def is_readable_on_the_way(self) -> bool:
        """Whether others on the network can read what is sent, passwords too."""
        return self.scheme in ("http", DICOM) and self.host not in LOOPBACK


def parse_address(given: str) -> Address:
    """An address of DICOMweb or of a C-STORE provider.

    Args:
        given: such as ``https://archive.example/dicom-web``, ``dicom://ORTHANC@archive.example:4242``.

    Raises:
        ValueError: it is none, or holds a password. The message does not repeat one.
    """
    parts = urlsplit(given)
    if parts.scheme in WEB and parts.username is not None:
        raise ValueError(
            f"the address of {parts.hostname} holds a user or a password, which logs and process lists would show. "
            "Leave it out, and set the environment variables that --help names."
        )
    form = "https://HOST/dicom-web, dicom://AE_TITLE@HOST:PORT or dicoms://AE_TITLE@HOST:PORT"
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{given}: its port is no number up to 65535. Give {form}.") from error
    if not parts.hostname or parts.scheme not in (*WEB, DICOM, DICOM_TLS):
        raise ValueError(f"{given}: no address. Give {form}.")
    if parts.scheme in WEB:
        return Address(given.rstrip("/"), parts.scheme, parts.hostname, port or {"http": 80}.get(parts.scheme, 443))
    title = unquote(parts.username or "")
    if not title:
        raise ValueError(f"{given}: has no AE title. Give {DICOM}://AE_TITLE@{parts.hostname}:{port or DICOM_PORT}.")
    return Address(given, parts.scheme, parts.hostname, port or DICOM_PORT, parse_title(title))


def parse_title(title: str) -> str:
    """An AE title.

    Raises:
        ValueError: it is empty, longer than 16 characters, or has others than DICOM allows.
    """
    trimmed = title.strip()
    sound = trimmed.isascii() and trimmed.isprintable() and "\\" not in trimmed
    if not sound or not 0 < len(trimmed) <= LONGEST_TITLE:
        raise ValueError(f"{title!r}: no AE title, which has 1 to 16 characters of ASCII without a backslash.")
    return trimmed


@dataclass(frozen=True)
class Credentials:
    """What proves to a DICOMweb server who we are; from environment variables, for process lists show options.

    Attributes:
        user: of basic authentication; empty without it.
        password: of basic authentication; in no text of this object.
        token: bearer token; empty without one, in no text of this object.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, prefix: str) -> Credentials:
        """Those in ``PREFIX_USER`` and ``PREFIX_PASSWORD``, or in ``PREFIX_TOKEN``.

        Raises:
            ValueError: there is one of user and password, or there are both kinds.
        """
        user, password, token = (os.environ.get(f"{prefix}_{name}", "") for name in ("USER", "PASSWORD", "TOKEN"))
        if bool(user) != bool(password):
            raise ValueError(f"set both {prefix}_USER and {prefix}_PASSWORD, or neither")
        if user and token:
            raise ValueError(f"set {prefix}_TOKEN, or {prefix}_USER and {prefix}_PASSWORD, not all of them")
        return cls(user, password, token)

    def __bool__(self) -> bool:
        return bool(self.user or self.token)


@dataclass(frozen=True)
class Tls:
    """Certificates, as files of PEM.

    Attributes:
        authority: whose certificates are trusted; those of the system if ``None``.
        certificate: ours, shown to the other side.
        key: of the certificate; in the same file if ``None``.
    """

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None

    def check(self) -> None:
        """Make sure that the files can be used.

        Raises:
            ValueError: one cannot.
        """
        if self.key and not self.certificate:
            raise ValueError("--tls-key is of no use without --tls-certificate")
        for option, path in (("ca", self.authority), ("certificate", self.certificate), ("key", self.key)):
            if path and not os.path.isfile(path):
                raise ValueError(f"{path}: no such file. Check --tls-{option}.")
        self.client_context()

    def client_context(self) -> ssl.SSLContext:
        """For connections that we open: the other side's certificate is checked, name and all.

        Raises:
            ValueError: a file holds no certificate or no key.
        """
        return self._context(ssl.Purpose.SERVER_AUTH)

    def server_context(self) -> ssl.SSLContext:
        """For connections that others open; with an authority, they must show a certificate of it.

        Raises:
            ValueError: there is no certificate, or a file holds none.
        """
        if not self.certificate:
            raise ValueError("--tls needs --tls-certificate, and --tls-key if the key is in another file")
        context = self._context(ssl.Purpose.CLIENT_AUTH)
        if self.authority:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=self.authority)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(filter(None, (self.authority, self.certificate, self.key)))
            raise ValueError(
                f"{files}: cannot be used for TLS ({error}). Give files of PEM, keys without a password."
            ) from error
        return context


def _no_password() -> str:
    return ""  # or the program would stop and ask


def check_packages(*names: str) -> None:
    """Make sure that packages are installed.

    Raises:
        ImportError: one is not; the message says how to get it.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise ImportError(f"this needs {name}; install it: pip install 'cxr-attn-unet[pacs]'") from error
