"""What stands before the service, without a network: a request is a few calls."""

import asyncio

import pytest

for _package in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(_package, reason="needs the extra serve")

from fastapi import FastAPI, Request  # noqa: E402

from cxr_attn_unet.serve.guard import Guard, host_of  # noqa: E402
from cxr_attn_unet.serve.settings import Limits, is_loopback, suffix_of  # noqa: E402


def status_of(limits: Limits, receive, **headers: str) -> int:
    """Status of a request whose body comes by ``receive``."""
    app = FastAPI()

    @app.post("/")
    async def length(request: Request) -> int:
        return len(await request.body())

    sent = []

    async def send(message):
        sent.append(message)

    fields = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()],
    }
    asyncio.run(Guard(app, (), limits)(scope, receive, send))
    return sent[0]["status"]


async def nothing_more():
    await asyncio.sleep(3600)


def test_an_upload_that_stops_is_given_up():
    assert status_of(Limits(upload_seconds=0.05), nothing_more) == 408


def test_an_upload_is_bounded_whatever_its_length_says():
    async def endless():
        return {"type": "http.request", "body": bytes(1 << 16), "more_body": True}

    assert status_of(Limits(bytes=1 << 20), endless, content_length="5") == 413


def test_a_small_upload_passes():
    async def once():
        return {"type": "http.request", "body": b"abc", "more_body": False}

    assert status_of(Limits(), once) == 200


def test_an_upload_without_a_host_is_refused():
    assert status_of(Limits(), nothing_more, host="") == 421


@pytest.mark.parametrize(
    ("header", "host"),
    [("localhost", "localhost"), ("a.example:80", "a.example"), ("[::1]:8090", "::1"), ("127.0.0.1", "127.0.0.1")],
)
def test_the_host_of_a_header(header, host):
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.5", False),
        ("xray.example", False),
    ],
)
def test_which_addresses_this_machine_alone_reaches(host, alone):
    assert is_loopback(host) == alone


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("Doe_Jane.DCM", ".dcm"),
        ("a.nii.gz", ".nii.gz"),
        ("a.dcm.gz", ".dcm.gz"),
        ("1.2.840.113", ""),
        ("a.b.PNG", ".png"),
    ],
)
def test_of_an_uploads_name_the_suffix_alone_is_kept(name, suffix):
    assert suffix_of(name) == suffix
