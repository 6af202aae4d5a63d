"""Radiographs of an archive, and their results back, by DICOMweb: against a real Orthanc."""

import io
import json
import re
import sys
import urllib.request
from collections import Counter
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest
from pacs import certificates, free_port, needed, orthanc, send, service, tls_before, write_radiographs

from cxr_attn_unet.__main__ import main
from cxr_attn_unet.dicom_network import State
from part_bundles import write_bundle

FEW = 6
MANY = 200
SEGMENTATIONS = ("--format", "dicom-seg")
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "lungs")
    return folder


@pytest.fixture
def archive(tmp_path):
    """An empty one."""
    needed("Orthanc", "storescu")
    with orthanc(tmp_path / "orthanc") as running:
        yield running


def arguments(archive, bundles, state, *more) -> list[str]:
    given = ["watch", "--from", archive.web, "--state", state, "--bundles", bundles, "--retry-after", 0.01, *more]
    return [str(argument) for argument in given]


def watch(archive, bundles, state, *more) -> int:
    return main(["dicom", *arguments(archive, bundles, state, "--once", *more)])


@pytest.fixture(scope="module")
def watched(bundles, tmp_path_factory):
    """Radiographs that were sent and found, a hand and an old one among them; what there is, and what was logged."""
    needed("Orthanc", "storescu")
    root = tmp_path_factory.mktemp("watched")
    with orthanc(root / "orthanc") as archive:
        radiographs = write_radiographs(root / "in", FEW)
        others = ({"BodyPartExamined": "HAND"}, {"StudyDate": "20200102"}, {"Modality": "MG"})
        for several in (radiographs, *(write_radiographs(root / "in", 1, **other) for other in others)):
            send(archive, several)
        with redirect_stderr(io.StringIO()) as log:
            assert watch(archive, bundles, root / "state") == 0, log.getvalue()
        yield SimpleNamespace(archive=archive, radiographs=radiographs, state=root / "state", log=log.getvalue())


@pytest.mark.parametrize("modality", ["SEG", "SR"])
def test_each_radiograph_of_an_archive_gets_its_results_and_no_other_does(watched, modality):
    assert watched.archive.sources(modality) == Counter(list(watched.radiographs))


def test_no_file_of_a_patient_is_left_in_the_state(watched):
    left = [path.name for path in watched.state.rglob("*") if path.is_file()]
    assert [name for name in left if "sqlite3" not in name] == []


def test_the_log_names_no_patient_and_no_uid(watched):
    assert "instance 6: done" in watched.log
    assert re.findall(r"SECRET|Secret|\d+(?:\.\d+){4,}", watched.log) == []


def test_the_state_is_for_its_owner_alone(watched):
    assert watched.state.stat().st_mode & 0o077 == 0


def test_a_second_search_does_nothing_again(watched, bundles):
    before = set(watched.archive.ask("/instances"))
    assert watch(watched.archive, bundles, watched.state) == 0
    assert set(watched.archive.ask("/instances")) == before


def test_results_that_are_sent_again_are_the_same_ones(watched, bundles, tmp_path):
    before = set(watched.archive.ask("/instances"))
    assert watch(watched.archive, bundles, tmp_path / "another state") == 0
    assert set(watched.archive.ask("/instances")) == before


def test_status_counts(watched, capsys):
    assert main(["dicom", "status", "--state", str(watched.state)]) == 0
    assert capsys.readouterr().out.split() == ["waiting", "0", "done", "6", "skipped", "0", "dead", "0"]


def test_a_date_is_searched_for(archive, bundles, tmp_path):
    old = write_radiographs(tmp_path / "in", 1, StudyDate="20200102")
    send(archive, {**old, **write_radiographs(tmp_path / "in", 1)})
    assert watch(archive, bundles, tmp_path / "state", "--date", "20200101-20200131", *SEGMENTATIONS) == 0
    assert archive.sources("SEG") == Counter(list(old))


def test_any_body_part_is_searched_for(archive, bundles, tmp_path):
    both = {
        **write_radiographs(tmp_path / "in", 1, BodyPartExamined="HAND"),
        **write_radiographs(tmp_path / "in", 1, BodyPartExamined=""),
    }
    send(archive, both)
    assert watch(archive, bundles, tmp_path / "state", "--body-part", "any", *SEGMENTATIONS) == 0
    assert archive.sources("SEG") == Counter(list(both))


def test_results_go_to_another_archive_by_c_store(archive, bundles, tmp_path):
    radiographs = write_radiographs(tmp_path / "in", 1)
    send(archive, radiographs)
    with orthanc(tmp_path / "results") as other:
        assert watch(archive, bundles, tmp_path / "state", "--to", other.store) == 0
        assert other.sources("SEG") == Counter(list(radiographs))
        assert other.sources("SR") == Counter(list(radiographs))
    assert archive.instances("SEG") == []


def test_a_radiograph_that_cannot_be_used_is_a_dead_letter_and_the_others_are_done(archive, bundles, tmp_path, capsys):
    good = write_radiographs(tmp_path / "in", 1)
    bad = write_radiographs(tmp_path / "in", 1, PixelData=b"\0\0")
    send(archive, {**bad, **good})
    state = tmp_path / "state"
    assert watch(archive, bundles, state, *SEGMENTATIONS) == 1
    assert archive.sources("SEG") == Counter(list(good))
    capsys.readouterr()
    assert main(["dicom", "dead-letters", "--state", str(state)]) == 0
    letters = capsys.readouterr().out.splitlines()
    assert len(letters) == 1
    assert next(iter(bad)) in letters[0]
    assert "truncated" in letters[0]


def test_an_archive_that_is_away_loses_nothing(archive, bundles, tmp_path, capsys):
    radiographs = write_radiographs(tmp_path / "in", 1)
    send(archive, radiographs)
    archive.stop()
    assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS) == 1
    assert "cannot be reached" in capsys.readouterr().err
    archive.start()
    assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS) == 0
    assert archive.sources("SEG") == Counter(list(radiographs))


def test_results_that_could_not_be_stored_wait_for_the_next_attempt(archive, bundles, tmp_path):
    send(archive, write_radiographs(tmp_path / "in", 1))
    to = ("--to", f"dicom://NOBODY@127.0.0.1:{free_port()}", *SEGMENTATIONS, "--retry-after", 1000)
    assert watch(archive, bundles, tmp_path / "state", *to) == 1
    assert State(tmp_path / "state").counts() == {"waiting": 1, "done": 0, "skipped": 0, "dead": 0}


def test_what_was_given_up_is_tried_again_when_told_to(archive, bundles, tmp_path, capsys):
    radiographs = write_radiographs(tmp_path / "in", 1)
    send(archive, radiographs)
    state = tmp_path / "state"
    with orthanc(tmp_path / "results") as other:
        other.stop()
        to = ("--to", other.store, *SEGMENTATIONS, "--attempts", 2)
        assert watch(archive, bundles, state, *to) == 1
        assert "cannot be reached, or TLS failed, 2 times" in capsys.readouterr().err
        other.start()
        assert main(["dicom", "dead-letters", "--state", str(state), "--retry"]) == 0
        assert watch(archive, bundles, state, *to) == 0
        assert other.sources("SEG") == Counter(list(radiographs))


def test_user_and_password_come_from_the_environment_and_are_said_nowhere(bundles, tmp_path, capsys, monkeypatch):
    needed("Orthanc", "storescu")
    radiographs = write_radiographs(tmp_path / "in", 1)
    with orthanc(tmp_path / "orthanc", user="reader", password=PASSWORD) as archive:
        send(archive, radiographs)
        assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS) == 1
        assert "401 Unauthorized; check the user and password" in capsys.readouterr().err
        monkeypatch.setenv("CXR_DICOM_FROM_USER", "reader")
        monkeypatch.setenv("CXR_DICOM_FROM_PASSWORD", PASSWORD)
        assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS) == 0
        assert PASSWORD not in capsys.readouterr().err
        assert archive.sources("SEG") == Counter(list(radiographs))


def test_https_needs_the_authority_and_the_certificate_that_are_named(archive, bundles, tmp_path, capsys, monkeypatch):
    files = certificates(tmp_path / "tls")
    # what the environment says of other authorities must not count
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files["certificate"])
    radiographs = write_radiographs(tmp_path / "in", 1)
    send(archive, radiographs)
    ours = ("--tls-certificate", files["certificate"], "--tls-key", files["key"])
    with tls_before(archive.http, files) as port:
        archive.web = f"https://127.0.0.1:{port}/dicom-web"
        for lacking in (ours, ("--tls-ca", files["ca"])):
            assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS, *lacking) == 1
            assert "search failed" in capsys.readouterr().err
        assert watch(archive, bundles, tmp_path / "state", *SEGMENTATIONS, *ours, "--tls-ca", files["ca"]) == 0
    assert archive.sources("SEG") == Counter(list(radiographs))


def answer(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
        return response.read().decode()


@pytest.fixture(scope="module")
def ended(bundles, tmp_path_factory):
    """A service that got SIGTERM while it worked, after it was asked for health and metrics."""
    needed("Orthanc", "storescu")
    root = tmp_path_factory.mktemp("ended")
    with orthanc(root / "orthanc") as archive:
        send(archive, write_radiographs(root / "in", FEW))
        given = arguments(archive, bundles, root / "state", *SEGMENTATIONS, "--metrics-port", 0)
        with service(root / "log", *given) as running:
            running.says("instance 1: done")
            port = int(re.search(r"/metrics on 127.0.0.1:(\d+)", running.text).group(1))
            health, metrics = answer(port, "/health"), answer(port, "/metrics")
            status = running.end()
        yield SimpleNamespace(
            status=status, log=running.text, health=health, metrics=metrics, state=root / "state", archive=archive
        )


def test_sigterm_ends_it_with_status_0(ended):
    assert ended.status == 0, ended.log


def test_sigterm_finishes_the_radiograph_in_hand_and_no_other(ended):
    done = State(ended.state).counts()["done"]
    assert 0 < done < FEW
    assert len(ended.archive.instances("SEG")) == done
    assert not list((ended.state / "results").iterdir())


def test_health_says_that_all_is_well(ended):
    assert json.loads(ended.health)["status"] == "ok"


def test_metrics_count_instances_by_stage(ended):
    assert re.search(r'^cxr_attn_unet_dicom_instances\{stage="done"\} [1-6]\.0$', ended.metrics, re.MULTILINE)
    assert re.search(r'^cxr_attn_unet_dicom_seconds_count\{step="store"\} [1-6]\.0$', ended.metrics, re.MULTILINE)


def killed_and_restarted(archive, bundles, root, count: int, kills: int) -> Counter:
    """Send radiographs, kill the service several times while it works, start it again; what refers to each."""
    radiographs = write_radiographs(root / "in", count)
    send(archive, radiographs)
    given = arguments(archive, bundles, root / "state", *SEGMENTATIONS)
    for _ in range(kills):
        with service(root / "log", *given) as running:
            running.says(": done", count // (kills + 1))
            running.kill()
    assert watch(archive, bundles, root / "state", *SEGMENTATIONS) == 0
    assert set(archive.sources("SEG")) == set(radiographs)
    return archive.sources("SEG")


def test_a_service_that_is_killed_loses_and_doubles_nothing(archive, bundles, tmp_path):
    assert set(killed_and_restarted(archive, bundles, tmp_path, FEW, 1).values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(4000)
def test_200_radiographs_of_a_service_that_is_killed_three_times(archive, bundles, tmp_path):
    found = killed_and_restarted(archive, bundles, tmp_path, MANY, 3)
    assert len(found) == MANY
    assert set(found.values()) == {1}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--from", "ftp://a"], "no address"),
        (["--from", "dicom://A@b:104"], "--from is searched by DICOMweb"),
        (["--from", "http://me:secret@b"], "holds a user or a password"),
        (["--date", "yesterday"], "must be like 20240101"),
        (["--attempts", "0"], "--attempts must be more than 0"),
        (["--ae-title", "a title that is too long"], "no AE title"),
        (["--tls-ca", "/nowhere.pem"], "no such file"),
        (["--tls-key", "/nowhere.pem"], "of no use without --tls-certificate"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(more, message, tmp_path, capsys):
    needed()
    assert main(["dicom", "watch", "--from", "http://127.0.0.1:9", "--state", str(tmp_path / "state"), *more]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "secret" not in said
    assert not (tmp_path / "state").exists()


def test_a_package_that_is_missing_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    assert main(["dicom", "watch", "--from", "http://127.0.0.1:9", "--state", str(tmp_path)]) == 2
    assert "needs pynetdicom; install it: pip install 'cxr-attn-unet[pacs]'" in capsys.readouterr().err


def test_a_folder_is_used_by_one_service_alone(tmp_path, bundles, capsys):
    needed()
    state = State(tmp_path)
    state.hold()
    given = ["--from", "http://127.0.0.1:9", "--state", str(tmp_path), "--bundles", str(bundles)]
    assert main(["dicom", "watch", *given]) == 2
    assert "another process works with this folder" in capsys.readouterr().err
    state.close()


def test_a_folder_without_a_state_is_named(tmp_path, capsys):
    assert main(["dicom", "status", "--state", str(tmp_path)]) == 2
    assert "nothing is remembered here" in capsys.readouterr().err
