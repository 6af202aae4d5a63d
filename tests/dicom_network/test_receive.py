"""Radiographs that are sent by C-STORE, and their results back by C-STORE: DCMTK sends, Orthanc takes the results."""

import re
import shutil
from collections import Counter

import pytest
from pacs import certificates, needed, orthanc, service, storescu, wait_until, write_radiographs

from cxr_attn_unet.dicom_network import State
from part_bundles import write_bundle
from samples import CT

FEW = 6
MANY = 200
TITLE = "CXR_ATTN_UNET"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "lungs")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Takes the results of all tests here."""
    needed("Orthanc", "storescu")
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def receiver(archive, bundles, root, *more):
    """The service, on a port of its own."""
    given = ("receive", "--port", 0, "--to", archive.store, "--state", root / "state", "--bundles", bundles)
    return service(root / "log", *given, "--format", "dicom-seg", "--retry-after", 0.1, *more)


def port_of(running) -> int:
    """Where it listens."""
    running.says("receiving as")
    return int(re.search(r"receiving as .*:(\d+)", running.text).group(1))


def done(root) -> int:
    return State(root / "state").counts()["done"]


def found_of(archive, radiographs) -> Counter:
    """How many segmentations refer to each of some radiographs."""
    return Counter({uid: count for uid, count in archive.sources("SEG").items() if uid in radiographs})


@pytest.fixture(scope="module")
def received(archive, bundles, tmp_path_factory):
    """A service that got radiographs, some of them twice."""
    root = tmp_path_factory.mktemp("received")
    radiographs = write_radiographs(root / "in", 3)
    with receiver(archive, bundles, root, "--allow", "STORESCU", "OTHER") as running:
        port = port_of(running)
        for _ in range(2):
            sent = storescu(port, TITLE, list(radiographs.values()))
            assert sent.returncode == 0, sent.stderr
        wait_until(lambda: done(root) == 3, "done")
        assert storescu(port, TITLE, list(radiographs.values())).returncode == 0
        yield running, port, radiographs, root
        assert running.end() == 0, running.text


def test_each_radiograph_that_is_sent_gets_its_results_once(archive, received):
    _, _, radiographs, _ = received
    assert found_of(archive, radiographs) == Counter(list(radiographs))


def test_the_log_names_no_patient_and_no_uid(received):
    running, _, _, _ = received
    assert "instance 3: done" in running.text
    assert re.findall(r"SECRET|Secret|\d+(?:\.\d+){4,}", running.text) == []


def test_a_caller_that_is_not_allowed_is_refused(received):
    _, port, radiographs, _ = received
    assert storescu(port, TITLE, list(radiographs.values()), "-aet", "STRANGER").returncode != 0


def test_another_called_title_is_refused(received):
    _, port, radiographs, _ = received
    assert storescu(port, "SOMEONE", list(radiographs.values())).returncode != 0


def test_a_ct_is_not_taken(received, tmp_path):
    _, port, _, _ = received
    slices = write_radiographs(tmp_path / "in", 1, SOPClassUID=CT, Modality="CT")
    assert storescu(port, TITLE, list(slices.values())).returncode != 0


def test_a_hand_is_taken_and_skipped(received, tmp_path):
    running, port, _, root = received
    hands = write_radiographs(tmp_path / "in", 1, BodyPartExamined="HAND")
    assert storescu(port, TITLE, list(hands.values())).returncode == 0
    running.says("skipped, its body part is HAND")
    assert State(root / "state").counts()["skipped"] == 1


def test_a_radiograph_that_cannot_be_written_is_refused_so_that_its_sender_keeps_it(archive, bundles, tmp_path):
    radiographs = write_radiographs(tmp_path / "in", 1)
    with receiver(archive, bundles, tmp_path) as running:
        port = port_of(running)
        # root may write anywhere; a file in place of the folder stops root too
        shutil.rmtree(tmp_path / "state" / "incoming")
        (tmp_path / "state" / "incoming").write_text("")
        assert storescu(port, TITLE, list(radiographs.values())).returncode != 0
        (tmp_path / "state" / "incoming").unlink()
        (tmp_path / "state" / "incoming").mkdir()
        assert storescu(port, TITLE, list(radiographs.values())).returncode == 0
        wait_until(lambda: done(tmp_path) == 1, "done")
    assert found_of(archive, radiographs) == Counter(list(radiographs))


def killed_and_restarted(archive, bundles, root, count: int, kills: int) -> Counter:
    """Send radiographs, kill the service while it takes them, and send all again to the next one."""
    radiographs = write_radiographs(root / "in", count)
    paths = list(radiographs.values())
    for number in range(1, kills + 1):
        with receiver(archive, bundles, root) as running:
            port = port_of(running)
            share = paths[: number * count // (kills + 1)]
            assert storescu(port, TITLE, share).returncode == 0
            running.says("done, ")
            running.kill()
            assert storescu(port, TITLE, paths).returncode != 0
    with receiver(archive, bundles, root) as running:
        sent = storescu(port_of(running), TITLE, paths)
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: done(root) == count or running.process.poll() is not None, "done", 3000)
        assert running.end() == 0, running.text[-3000:]
    return found_of(archive, radiographs)


def test_a_service_that_is_killed_loses_and_doubles_nothing(archive, bundles, tmp_path):
    found = killed_and_restarted(archive, bundles, tmp_path, FEW, 1)
    assert len(found) == FEW
    assert set(found.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(4000)
def test_200_radiographs_of_a_service_that_is_killed_three_times(archive, bundles, tmp_path):
    found = killed_and_restarted(archive, bundles, tmp_path, MANY, 3)
    assert len(found) == MANY
    assert set(found.values()) == {1}


@pytest.fixture(scope="module")
def with_tls(bundles, tmp_path_factory):
    """A service and an archive that speak TLS alone, and ask for a certificate."""
    needed("Orthanc", "storescu", "openssl")
    root = tmp_path_factory.mktemp("tls")
    files = certificates(root / "tls")
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": files["certificate"],
        "DicomTlsPrivateKey": files["key"],
        "DicomTlsTrustedCertificates": files["ca"],
    }
    ours = ("--tls", "--tls-ca", files["ca"], "--tls-certificate", files["certificate"], "--tls-key", files["key"])
    with orthanc(root / "orthanc", **settings) as archive:
        archive.store = archive.store.replace("dicom://", "dicoms://")
        with receiver(archive, bundles, root, *ours) as running:
            yield port_of(running), files, archive, root


def test_radiographs_and_results_go_through_tls(with_tls, tmp_path):
    port, files, archive, root = with_tls
    radiographs = write_radiographs(tmp_path / "in", 1)
    tls = ("+tls", files["key"], files["certificate"], "+cf", files["ca"])
    sent = storescu(port, TITLE, list(radiographs.values()), *tls)
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: done(root) == 1, "done")
    assert found_of(archive, radiographs) == Counter(list(radiographs))


def test_a_sender_without_a_certificate_is_refused(with_tls, tmp_path):
    port, files, _, _ = with_tls
    radiographs = write_radiographs(tmp_path / "in", 1)
    assert storescu(port, TITLE, list(radiographs.values()), "+tla", "+cf", files["ca"]).returncode != 0
