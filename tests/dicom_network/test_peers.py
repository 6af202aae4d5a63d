"""Addresses, secrets and certificates."""

import pytest
from pacs import certificates

from cxr_attn_unet.dicom_network.peers import Credentials, Tls, parse_address, parse_title


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://archive.example/dicom-web/", ("https", "archive.example", 443, "")),
        ("http://archive.example:8042/dicom-web", ("http", "archive.example", 8042, "")),
        ("dicom://ORTHANC@archive.example:4242", ("dicom", "archive.example", 4242, "ORTHANC")),
        ("dicoms://MY%20PACS@archive.example", ("dicoms", "archive.example", 104, "MY PACS")),
    ],
)
def test_an_address_is_taken_apart(given, expected):
    address = parse_address(given)
    assert (address.scheme, address.host, address.port, address.title) == expected


def test_a_slash_at_the_end_of_a_service_is_cut_off():
    assert parse_address("https://a/dicom-web/").url == "https://a/dicom-web"


@pytest.mark.parametrize("given", ["archive", "file:///a", "http://", "dicom://archive:104", "http://a:99999"])
def test_what_is_no_address_is_refused(given):
    with pytest.raises(ValueError, match=r"Give (https|dicom)://"):
        parse_address(given)


@pytest.mark.parametrize(
    ("given", "readable"),
    [
        ("http://a", True),
        ("dicom://A@a", True),
        ("https://a", False),
        ("dicoms://A@a", False),
        ("http://127.0.0.1", False),
    ],
)
def test_who_can_read_what_is_sent(given, readable):
    assert parse_address(given).is_readable_on_the_way is readable


@pytest.mark.parametrize("title", ["", " ", "SEVENTEEN_LETTERS", "Ä", "A\\B"])
def test_what_is_no_title_is_refused(title):
    with pytest.raises(ValueError, match="no AE title"):
        parse_title(title)


def test_secrets_are_in_no_text_of_credentials(monkeypatch):
    monkeypatch.setenv("X_USER", "me")
    monkeypatch.setenv("X_PASSWORD", "secret")
    credentials = Credentials.from_environment("X")
    assert credentials.password == "secret"
    assert "secret" not in repr(credentials)


def test_half_of_a_secret_is_refused(monkeypatch):
    monkeypatch.setenv("X_USER", "me")
    with pytest.raises(ValueError, match="set both X_USER and X_PASSWORD"):
        Credentials.from_environment("X")


def test_two_kinds_of_secrets_are_refused(monkeypatch):
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"X_{name}", "secret")
    with pytest.raises(ValueError, match=r"set X_TOKEN, or X_USER and X_PASSWORD, not all of them") as raised:
        Credentials.from_environment("X")
    assert "secret" not in str(raised.value)


def test_a_key_that_does_not_fit_is_named(tmp_path):
    files = certificates(tmp_path / "tls")
    with pytest.raises(ValueError, match="cannot be used for TLS"):
        Tls(certificate=files["certificate"], key=files["ca_key"]).check()


def test_to_listen_with_tls_needs_a_certificate():
    with pytest.raises(ValueError, match="--tls needs --tls-certificate"):
        Tls().server_context()
