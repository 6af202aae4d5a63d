"""The HTTP service as clients see it: a real server in a process of its own."""

import io
import os
import signal
import socket
import sys
import time

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxr_attn_unet.__main__ import main
from http_server import Server
from part_bundles import RIBS, picture_of, rib_masks, write_bundle
from samples import write_dicom

for _package in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(_package, reason="needs the extra serve")

from cxr_attn_unet.serve.jobs import Jobs, UnknownJobError  # noqa: E402
from cxr_attn_unet.serve.settings import Bundles, Limits  # noqa: E402
from cxr_attn_unet.serve.worker import FailedRadiographError, Worker  # noqa: E402

pytestmark = pytest.mark.timeout(2400)  # a busy machine takes minutes to start a server

MARK = "ZQXJANE"
MASKS = rib_masks(missing=("R6",))
PICTURE = picture_of(MASKS, RIBS)
UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def server(bundles, tmp_path_factory):
    """A server that others reach, where nothing may wait, and that keeps files."""
    folder = tmp_path_factory.mktemp("server")
    options = ("--host", "0.0.0.0", "--allowed-host", "xray.example", "--queue", 0, "--timeout", 900)
    started = Server(folder, "--bundles", bundles, *options, "--max-megabytes", 1, "--keep", folder / "kept")
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "a.png"
    Image.fromarray(PICTURE).save(path)
    return path


@pytest.fixture(scope="module")
def done(server, png):
    """The status of a finished PNG."""
    return server.segment(png)


def mask_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content))) > 0


def test_a_mask_is_that_of_the_command(server, done):
    union = np.any(list(MASKS.values()), axis=0)
    assert np.array_equal(mask_of(server.file(done, "radiograph_ribs.png")), union)


def test_a_result_lists_its_files(server, done):
    names = done["result"]["files"]
    assert {"radiograph_ribs.png", "radiograph_labels.png", "radiograph_overlay.jpg"} <= set(names)


def test_parts_have_a_file_each(server, done):
    assert np.array_equal(mask_of(server.file(done, "radiograph_ribs_parts/L7.png")), MASKS["L7"])


def test_ribs_that_were_found_are_named_where_they_end(done):
    (ribs,) = done["result"]["structures"]
    labels = {part["name"]: part["label"] for part in ribs["parts"]}
    assert list(labels) == list(MASKS)
    # of R1: rows 6 to 9, columns 20 to 69; its lateral end is on the picture's left
    assert labels["R1"] == {"text": labels["R1"]["text"], "x": 20.5, "y": 8.0, "anchor": "end"}


def test_outlines_enclose_the_mask(done):
    (ribs,) = done["result"]["structures"]
    first = next(part for part in ribs["parts"] if part["name"] == "R1")
    (line,) = first["outlines"]
    x, y = np.array(line).T
    # corners are cut, and a point may be left out within the tolerance
    assert np.allclose((x.min(), x.max(), y.min(), y.max()), (20, 70, 6, 10), atol=0.75)


def test_measurements_have_values_and_units(done):
    found = {one["name"]: one for one in done["result"]["measurements"]}
    assert (found["ribs_right"]["value"], found["ribs_left"]["value"]) == (11, 12)


def test_pixels_are_those_of_the_file(server, done):
    picture = done["result"]["picture"]
    content = server.ask(f"/api/radiographs/{done['id']}/pixels").body
    numbers = np.frombuffer(content, "<u2").reshape(picture["rows"], picture["columns"])
    values = picture["low"] + numbers / 65535 * (picture["high"] - picture["low"])
    # hot pixels are no part of the range
    expected = PICTURE.clip(picture["low"], picture["high"])
    assert np.abs(values - expected).max() < 0.01


def test_pixels_of_large_radiographs_are_reduced(server, tmp_path):
    large = PICTURE.repeat(16, 0).repeat(16, 1)[: 16 * 150]
    Image.fromarray(large).save(tmp_path / "large.png")
    result = server.segment(tmp_path / "large.png")["result"]
    assert (result["picture"]["rows"], result["picture"]["columns"]) == (1200, 1280)
    assert (result["upright_rows"], result["upright_columns"]) == large.shape


def test_a_dicom_radiograph_has_a_segmentation(server, tmp_path):
    pytest.importorskip("highdicom")
    status = server.segment(write_dicom(tmp_path / "a.dcm", PICTURE, bits=8, **UIDS))
    content = server.file(status, "radiograph.seg.dcm")
    labels = [one.SegmentLabel for one in pydicom.dcmread(io.BytesIO(content)).SegmentSequence]
    assert labels[0] == "Ribs"
    assert "radiograph.sr.dcm" in status["result"]["files"]


def test_a_dicom_radiograph_without_uids_has_a_result_and_a_warning(server, tmp_path):
    pytest.importorskip("highdicom")
    result = server.segment(write_dicom(tmp_path / "a.dcm", PICTURE, bits=8))["result"]
    assert "radiograph.seg.dcm" not in result["files"]
    assert any(warning.startswith("no dicom-seg: ") for warning in result["warnings"])


def test_answers_and_log_name_no_patient(server, tmp_path):
    names = {"PatientName": f"{MARK}^A", "PatientID": MARK, "AccessionNumber": MARK, "StudyDescription": MARK}
    path = write_dicom(tmp_path / f"{MARK}.dcm", PICTURE, bits=8, InstitutionName=MARK, **names, **UIDS)
    status = server.segment(path)
    assert status["state"] == "done"
    assert MARK not in str(status)
    assert MARK not in server.text()


def test_a_file_that_cannot_be_used_fails_with_its_reason(server):
    status = server.send("holiday.png", b"\x89PNG\r\n\x1a\n" + bytes(80)).json()
    assert status["state"] == "failed"
    assert status["error"]
    assert str(server.temporary) not in status["error"]
    assert server.ask(f"/api/radiographs/{status['id']}/pixels").status == 409


def test_nothing_stays_on_the_disk(server, done):
    assert [path for path in server.temporary.rglob("*") if path.is_file()] == []


def test_a_radiograph_is_forgotten_when_asked(server, png):
    address = f"/api/radiographs/{server.segment(png)['id']}"
    assert server.ask(address, "DELETE").status == 204
    assert server.ask(address).status == 404


@pytest.mark.slow
def test_the_last_sixteen_results_are_held(server, png):
    statuses = [server.segment(png) for _ in range(17)]
    assert server.ask(f"/api/radiographs/{statuses[0]['id']}").status == 404
    assert server.ask(f"/api/radiographs/{statuses[1]['id']}").status == 200


@pytest.mark.parametrize("suffix", [".mhd", ".nrrd", ".zip"])
def test_files_that_can_name_other_files_are_refused(server, suffix):
    assert server.send(f"a{suffix}", b"x").status == 415


def test_a_form_without_a_file_is_refused(server):
    assert server.send("a.png", b"x", field="other").status == 422


def test_a_large_upload_is_refused_by_its_length(server):
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        head = f"POST /api/radiographs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 << 20}\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(64)


def test_a_large_upload_without_a_length_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        head = (
            f"POST /api/radiographs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        connection.sendall(head.encode())
        for block in (form, *[bytes(1 << 16)] * 24):
            try:
                connection.sendall(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            except OSError:
                break  # the server has answered and closed
        assert b" 413 " in connection.recv(64)
    assert server.ask("/health").json() == {"status": "ok", "waiting": 0}


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example:80", ""])
def test_other_names_are_refused(server, host):
    assert server.ask("/api/about", Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8090", "10.1.2.3"])
def test_its_own_names_and_numbers_are_answered(server, host):
    assert server.ask("/api/about", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://attacker.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
)
def test_pages_of_other_sites_cannot_send(server, png, headers):
    assert server.send("a.png", png.read_bytes(), **headers).status == 403


def test_its_own_page_can_send(server, png):
    assert server.send("a.png", png.read_bytes(), Origin=server.address, Sec_Fetch_Site="same-origin").status == 202


@pytest.mark.parametrize("path", ["/", "/api/about", "/nothing"])
def test_every_answer_has_the_security_headers(server, path):
    headers = server.ask(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_files_outside_of_a_result_are_not_given(server, done):
    address = f"/api/radiographs/{done['id']}/files"
    for name in ("../result.json", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "pixels.bin"):
        assert server.ask(f"{address}/{name}").status in (404, 405)


def test_the_description_has_every_address(server):
    paths = server.ask("/openapi.json").json()["paths"]
    assert {path: sorted(methods) for path, methods in paths.items()} == {
        "/health": ["get"],
        "/api/about": ["get"],
        "/api/radiographs": ["post"],
        "/api/radiographs/{identity}": ["delete", "get"],
        "/api/radiographs/{identity}/pixels": ["get"],
        "/api/radiographs/{identity}/files/{name}": ["get"],
    }


def test_about_names_structures_and_limits(server):
    about = server.ask("/api/about").json()
    assert [(one["name"], one["parts"]) for one in about["structures"]] == [("ribs", 24)]
    assert (about["max_bytes"], about["kept_on_disk"]) == (1 << 20, True)


def test_elsewhere_it_says_that_others_reach_it(server):
    assert "OTHERS ON THE NETWORK REACH IT. There is no login" in server.text()


def test_a_name_that_was_allowed_is_answered(server):
    assert server.ask("/api/about", Host="xray.example").status == 200


def test_one_radiograph_too_many_is_told_when_to_come_back(server, png):
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        # an upload that does not end holds the only place
        head = "POST /api/radiographs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n"
        connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
        while server.ask("/health").json()["waiting"] != 1:
            time.sleep(0.05)
        answer = server.send("a.png", png.read_bytes())
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    while server.ask("/health").json()["waiting"]:
        time.sleep(0.05)  # until the server has seen that the client is gone
    assert "Traceback" not in server.text()


def test_results_are_kept_as_files_when_asked(server, png):
    status = server.segment(png)
    (kept,) = [path for path in (server.folder / "kept").iterdir() if path.name.endswith(status["id"][:8])]
    assert (kept / "radiograph.png").read_bytes() == png.read_bytes()
    assert np.array_equal(mask_of((kept / "radiograph_ribs_parts" / "L7.png").read_bytes()), MASKS["L7"])
    assert (kept / "result.json").is_file()


def test_results_are_forgotten_after_a_while(tmp_path):
    now = [0.0]
    jobs = Jobs(Worker(Bundles(), Limits()), Limits(keep_seconds=60), tmp_path, lambda: now[0])
    job = jobs.reserve()
    job.ended.set()
    now[0] = 59
    jobs.drop_old()
    assert jobs.get(job.id) is job  # which asks for it
    now[0] = 120
    jobs.drop_old()
    with pytest.raises(UnknownJobError):
        jobs.get(job.id)


def test_a_radiograph_that_takes_too_long_is_given_up(bundles, png, tmp_path):
    worker = Worker(Bundles(folder=str(bundles)), Limits(seconds=0.001))
    worker.start()
    try:
        with pytest.raises(FailedRadiographError, match="was given up"):
            worker.segment(png, tmp_path)
    finally:
        worker.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_that_dies_is_replaced(server, png):
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    statuses = [server.segment(png) for _ in range(2)]
    # whether the first one was sent before the death was noticed is chance
    assert statuses[-1]["state"] == "done"
    assert statuses[0]["state"] == "done" or "ended" in statuses[0]["error"]


def test_a_port_that_is_taken_is_named(bundles, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--bundles", str(bundles)]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--queue", "-1"), ("--timeout", "0"), ("--max-pixels", "0")])
def test_a_number_out_of_range_is_named(option, capsys):
    assert main(["serve", *option]) == 2
    assert f"{option[0]} is {option[1]}, must be" in capsys.readouterr().err


def test_a_folder_without_bundles_is_named(tmp_path, capsys):
    assert main(["serve", "--port", "0", "--bundles", str(tmp_path)]) == 2
    assert f"no bundle *_attn_unet in {tmp_path}" in capsys.readouterr().err


def test_sigterm_ends_it_and_leaves_nothing(server):
    """The last one, for it ends a server that the others use."""
    assert server.stop() == 0
    assert list(server.temporary.iterdir()) == []
