"""The client of DICOMweb archives."""

import socket

import pytest
from pacs import needed, orthanc, send, write_radiographs

from cxr_attn_unet.dicom_network import web
from cxr_attn_unet.dicom_network.peers import Credentials, PeerError, Tls, parse_address

RADIOGRAPHS = web.Query(("DX",), (), "")


def archive_at(address: str) -> web.WebArchive:
    return web.WebArchive(parse_address(address), Credentials(), Tls())


def test_an_archive_that_never_answers_is_given_up(monkeypatch):
    needed()
    monkeypatch.setattr(web, "TIMEOUT", (5, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        archive = archive_at(f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web")
        with pytest.raises(PeerError, match="did not answer the search in time"):
            archive.search(RADIOGRAPHS)


def test_a_header_says_what_the_file_says_without_its_pixels(tmp_path):
    needed("Orthanc", "storescu")
    radiographs = write_radiographs(tmp_path / "radiographs", 1)
    with orthanc(tmp_path / "orthanc") as server:
        send(server, radiographs)
        archive = archive_at(server.web)
        (reference,) = archive.search(RADIOGRAPHS)
        header = archive.header(reference)
    assert header.SOPInstanceUID == reference.instance_uid == next(iter(radiographs))
    assert header.PatientID == "SECRET-ID-0"
    assert not header.get("PixelData")
