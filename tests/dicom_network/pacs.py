"""A real archive, Orthanc, that tests start; radiographs to send to it, and the command as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from conftest import REPOSITORY
from cxr_attn_unet.structures import part_names
from part_bundles import lung_masks, picture_of
from samples import write_dicom

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PATIENCE = 600  # seconds; the machine may be busy
PICTURE = picture_of(lung_masks(), part_names("lungs"))


def needed(*programs: str) -> None:
    """Skip the test where a program, or Orthanc, is not installed."""
    lacking = [program for program in programs if shutil.which(program) is None]
    if "Orthanc" in programs and not PLUGIN.is_file():
        lacking.append("orthanc-dicomweb")
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed: apt-get install orthanc orthanc-dicomweb dcmtk openssl")
    for package in ("dicomweb_client", "pynetdicom", "prometheus_client", "highdicom"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'cxr-attn-unet[pacs]'")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(what: Callable[[], object], text: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so; the test fails where it does not become so in time."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not in {seconds} seconds: {text}"
        time.sleep(0.1)


class Orthanc:
    """An archive with DICOMweb and C-STORE on ports of its own."""

    title = "ORTHANC"

    def __init__(self, folder: Path, user: str = "", password: str = "", **settings) -> None:
        self.folder = folder
        self.http, self.dicom = free_port(), free_port()
        self.web = f"http://127.0.0.1:{self.http}/dicom-web"
        self.store = f"dicom://{self.title}@127.0.0.1:{self.dicom}"
        self._authorization = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._settings = {
            "StorageDirectory": str(folder / "archive"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": self.title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(user),
            "RegisteredUsers": {user: password} if user else {},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }
        self.start()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings))
        with open(self.folder / "orthanc.log", "ab") as log:
            self._process = subprocess.Popen(["Orthanc", str(settings)], stdout=log, stderr=log)
        wait_until(self._answers, "Orthanc starts")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "orthanc.log").read_text()[-2000:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.http)) == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def ask(self, path: str, content: object = None) -> object:
        """The answer of Orthanc's own interface, which the code under test does not use."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data)
        if self._authorization:
            request.add_header("Authorization", f"Basic {self._authorization}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def instances(self, modality: str) -> list[str]:
        """Orthanc's names of the instances of a modality."""
        return self.ask("/tools/find", {"Level": "Instance", "Query": {"Modality": modality}})

    def tag(self, instance: str, tag: str) -> object:
        """The value of an element of an instance."""
        return self.ask(f"/instances/{instance}/simplified-tags").get(tag)

    def sources(self, modality: str) -> Counter[str]:
        """How many objects of a modality refer to each radiograph."""
        if modality == "SEG":
            found = (self.tag(one, "ReferencedSeriesSequence") for one in self.instances(modality))
            return Counter(one[0]["ReferencedInstanceSequence"][0]["ReferencedSOPInstanceUID"] for one in found)
        found = (self.tag(one, "CurrentRequestedProcedureEvidenceSequence") for one in self.instances(modality))
        return Counter(
            one[0]["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"]
            for one in found
        )


@contextmanager
def orthanc(folder: Path, **settings) -> Iterator[Orthanc]:
    archive = Orthanc(folder, **settings)
    try:
        yield archive
    finally:
        archive.stop()


@contextmanager
def tls_before(port: int, files: dict[str, str]) -> Iterator[int]:
    """A port with TLS before a port without, as a proxy gives it; only to those who show a certificate.

    Debian's Orthanc 1.10.1 crashes at its first HTTPS request.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["ca"])
    context.load_cert_chain(files["certificate"], files["key"])
    context.verify_mode = ssl.CERT_REQUIRED

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
        target.close()

    async def forward(outer: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        inner, there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(outer, there), pass_on(inner, back))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        open_connections = asyncio.all_tasks(loop)
        for task in open_connections:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*open_connections, return_exceptions=True))
        loop.close()


def write_radiographs(folder: Path, count: int, **tags) -> dict[str, Path]:
    """Small radiographs, each of a study of its own; by SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for number in range(count):
        uid = generate_uid()
        identity = {
            "StudyInstanceUID": generate_uid(),
            "SeriesInstanceUID": generate_uid(),
            "SOPInstanceUID": uid,
            "PatientID": f"SECRET-ID-{number}",
            "PatientName": "Secret^Name",
            "StudyDate": f"{date.today():%Y%m%d}",
            "BodyPartExamined": "CHEST",
        }
        path = write_dicom(folder / f"{len(list(folder.iterdir())):04d}.dcm", PICTURE, bits=8, **(identity | tags))
        written[uid] = path
    return written


def certificates(folder: Path) -> dict[str, str]:
    """Files of PEM: an authority, and a certificate of it for this machine, with its key, alone and in one file."""
    needed("openssl")
    folder.mkdir(parents=True)
    paths = {name: str(folder / f"{name}.pem") for name in ("ca", "ca_key", "certificate", "key", "request", "both")}
    extensions = folder / "extensions.txt"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for arguments in (
        f"req -x509 -newkey rsa:2048 -nodes -keyout {paths['ca_key']} -out {paths['ca']} -days 2 -subj /CN=authority",
        f"req -newkey rsa:2048 -nodes -keyout {paths['key']} -out {paths['request']} -subj /CN=localhost",
        f"x509 -req -in {paths['request']} -CA {paths['ca']} -CAkey {paths['ca_key']} -CAcreateserial -days 2 "
        f"-extfile {extensions} -out {paths['certificate']}",
    ):
        subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
    Path(paths["both"]).write_text(Path(paths["certificate"]).read_text() + Path(paths["key"]).read_text())
    return paths


def storescu(port: int, title: str, paths: Sequence[Path], *options: str) -> subprocess.CompletedProcess:
    """Send files by DCMTK."""
    command = ["storescu", *options, "-aec", title, "127.0.0.1", str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def send(archive: Orthanc, radiographs: dict[str, Path]) -> None:
    """Send radiographs to an archive."""
    sent = storescu(archive.dicom, archive.title, list(radiographs.values()))
    assert sent.returncode == 0, sent.stderr


class Service:
    """The command in a process of its own."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._log = log
        self._start = log.stat().st_size if log.exists() else 0
        command = [sys.executable, "-m", "cxr_attn_unet", "dicom", *map(str, arguments)]
        variables = {**os.environ, "PYTHONPATH": str(REPOSITORY / "shared")}
        with open(log, "ab") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=variables)

    @property
    def text(self) -> str:
        """What it has said; without what those before it said into the same file."""
        return self._log.read_bytes()[self._start :].decode()

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so many times."""
        wait_until(lambda: self.text.count(text) >= times or self.process.poll() is not None, f"{text!r} is said")
        assert self.text.count(text) >= times, self.text[-3000:]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> int:
        """End it by SIGTERM; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def service(log: Path, *arguments: object) -> Iterator[Service]:
    running = Service(log, *arguments)
    try:
        yield running
    finally:
        running.kill()
