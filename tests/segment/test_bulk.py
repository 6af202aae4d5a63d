"""Any number of radiographs in shards: nothing lost, nothing doubled, nothing of other settings taken for a result."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import EXAMPLES
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.files import as_utf8
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.segment.bulk import Wanted
from cxr_attn_unet.segment.bulk.job import conclude
from cxr_attn_unet.segment.bulk.listing import Listed, Listing, with_slash
from cxr_attn_unet.segment.bulk.plan import ATTEMPTS, MANIFEST, SEGMENTATIONS, OtherRunError, Plan, make_plan
from cxr_attn_unet.segment.bulk.shards import MOST_ATTEMPTS, ShardSegmenter, _fetch, failures_of
from cxr_attn_unet.segment.bulk.store import Store

pq = pytest.importorskip("pyarrow.parquet", reason="results in bulk are Parquet: pip install pyarrow")
pytest.importorskip("pycocotools", reason="masks in tables need pycocotools")

RENDERED = EXAMPLES / "rendered" / "images"
WANTED = Wanted(structures=("heart",), shard_size=2)
NAMES = ("rendered_01", "rendered_02", "rendered_03", "rendered_04")


def write_radiographs(folder: Path) -> Path:
    """Four radiographs, one in a subfolder, one that is none, and a text."""
    (folder / "sub").mkdir(parents=True)
    for name in NAMES[:3]:
        shutil.copy(RENDERED / f"{name}.png", folder)
    shutil.copy(RENDERED / f"{NAMES[3]}.png", folder / "sub")
    (folder / "bad.png").write_text("no picture")
    (folder / "notes.txt").write_text("a text")
    return folder


@pytest.fixture(scope="module")
def segmenter():
    return WANTED.segmenter("cpu")


@pytest.fixture
def radiographs(tmp_path):
    return write_radiographs(tmp_path / "in")


@pytest.fixture
def planned(segmenter, tmp_path):
    """Makes the plan of what is given, in one output folder."""

    def make(*given, wanted: Wanted = WANTED, overwrite: bool = False, output: str | None = None) -> Plan:
        store = Store(output or str(tmp_path / "out"))
        return make_plan(store, map(str, given), wanted, segmenter, overwrite)

    return make


def work(plan: Plan) -> ShardSegmenter:
    """Do what is to do in this process, as a worker does."""
    worker = ShardSegmenter(plan)
    worker({"shard": plan.todo()})
    return worker


def rows_in(plan: Plan) -> list[dict]:
    """The rows of all shards."""
    found = []
    for name in sorted(plan.output.names(SEGMENTATIONS)):
        with plan.output.open(f"{SEGMENTATIONS}/{name}") as file:
            found += pq.read_table(file).to_pylist()
    return found


def by_name(rows: list[dict]) -> dict[str, dict]:
    """Rows by radiograph, without the file's name, which has the folder as it was given."""
    return {row["name"]: {key: value for key, value in row.items() if key != "file"} for row in rows}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """What the command finds without shards."""
    root = tmp_path_factory.mktemp("one")
    output = root / "out"
    arguments = ["segment", str(write_radiographs(root / "in")), "-o", str(output), "--structures", "heart"]
    assert main([*arguments, "--format", "parquet", "--no-report"]) == 1
    return by_name(pq.read_table(output / "segmentations.parquet").to_pylist())


@pytest.fixture(scope="module")
def finished(segmenter, tmp_path_factory):
    """A plan whose shards are done."""
    root = tmp_path_factory.mktemp("bulk")
    plan = make_plan(Store(str(root / "out")), [str(write_radiographs(root / "in"))], WANTED, segmenter, False)
    work(plan)
    return plan


def test_shards_hold_what_one_process_finds(finished, one_process):
    assert by_name(rows_in(finished)) == one_process


def test_each_radiograph_is_in_one_shard(finished):
    assert sorted(row["name"] for row in rows_in(finished)) == [*NAMES[:3], f"sub/{NAMES[3]}"]


def test_files_in_the_tables_are_those_that_were_given(finished):
    assert [row["file"] for row in rows_in(finished) if not Path(row["file"]).is_file()] == []


def test_a_shard_has_as_many_radiographs_as_were_asked_for(finished):
    assert [len(finished.entries(shard)) for shard in range(finished.shards)] == [2, 2, 1]


def test_a_shard_says_of_which_run_it_is(finished):
    with finished.output.open(finished.shard_name(SEGMENTATIONS, 0)) as file:
        assert pq.read_schema(file).metadata[b"cxr_attn_unet.run"] == finished.run.encode()


def test_the_manifest_has_weights_and_settings(finished):
    with finished.output.open(MANIFEST) as file:
        settings = json.load(file)["settings"]
    assert list(settings["checksums"]) == ["heart"]
    assert settings["shard_size"] == 2


def test_a_bad_file_is_its_own_failure(finished):
    failures = [row for shard in range(finished.shards) for row in failures_of(finished, shard)]
    assert [(Path(row["file"]).name, row["kind"]) for row in failures] == [("bad.png", "failed")]


def test_a_run_with_failures_ends_with_their_list(finished):
    assert conclude(finished, {}) == 1
    with finished.output.open("failures.csv") as file:
        lines = list(csv.DictReader(file.read().decode().splitlines()))
    assert [Path(line["file"]).name for line in lines] == ["bad.png"]


def test_a_run_without_failures_ends_well(radiographs, planned):
    plan = planned(radiographs / f"{NAMES[0]}.png")
    work(plan)
    assert conclude(plan, {}) == 0


def test_a_shard_without_results_fails_with_all_its_radiographs(radiographs, planned):
    plan = planned(*(radiographs / f"{name}.png" for name in NAMES[:3]))
    worker = ShardSegmenter(plan)
    worker.segment(0)
    assert conclude(plan, {1: "no memory"}) == 1
    with plan.output.open("failures.csv") as file:
        assert "its shard 1 has no results (no memory)" in file.read().decode()


def test_only_shards_without_results_or_with_failures_are_to_do(radiographs, planned):
    plan = planned(radiographs)
    assert plan.todo() == [0, 1, 2]
    work(plan)
    with_failure = [shard for shard in range(plan.shards) if failures_of(plan, shard)]
    assert planned(radiographs).todo() == with_failure


def test_what_failed_is_done_again_and_nothing_else(radiographs, planned):
    plan = planned(radiographs)
    worker = work(plan)
    shutil.copy(RENDERED / "rendered_05.png", radiographs / "bad.png")
    (radiographs / f"{NAMES[0]}.png").unlink()  # would fail if it were read again
    worker({"shard": plan.todo()})
    assert sorted(row["name"] for row in rows_in(plan)) == ["bad", *NAMES[:3], f"sub/{NAMES[3]}"]
    assert plan.todo() == []


def test_a_shard_that_is_done_twice_has_each_radiograph_once(radiographs, planned):
    plan = planned(radiographs)
    worker = work(plan)
    worker({"shard": [0, 1, 2]})
    assert len(rows_in(plan)) == 4


def test_files_that_went_before_a_shard_are_not_taken_for_its_results(radiographs, planned):
    plan = planned(radiographs)
    worker = ShardSegmenter(plan)
    unfinished = Path(plan.output.place) / SEGMENTATIONS / ".half.parquet"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"PAR1")
    assert plan.todo() == [0, 1, 2]
    worker({"shard": plan.todo()})
    plan.output.remove_unfinished(SEGMENTATIONS)
    assert len(rows_in(plan)) == 4


def test_a_shard_that_kills_its_workers_is_given_up(radiographs, planned):
    plan = planned(radiographs)
    worker = ShardSegmenter(plan)
    for _ in range(MOST_ATTEMPTS):
        assert worker._begin(0)  # and is killed
    error = f"its worker was killed in each of {MOST_ATTEMPTS} attempts, such as for want of memory"
    assert worker({"shard": [0]})["error"] == [error]


def test_marks_of_attempts_go_with_the_shard(finished):
    assert finished.output.names(ATTEMPTS) == set()


def test_results_of_other_settings_are_refused(radiographs, planned):
    planned(radiographs)
    with pytest.raises(OtherRunError, match="different: with_identifiers"):
        planned(radiographs, wanted=Wanted(structures=("heart",), shard_size=2, with_identifiers=True))


def test_results_of_another_list_are_refused(radiographs, planned):
    planned(radiographs)
    with pytest.raises(OtherRunError, match="different: given_sha256"):
        planned(radiographs / "sub")


def test_a_damaged_manifest_is_refused(radiographs, planned):
    plan = planned(radiographs)
    Path(plan.output.place, MANIFEST).write_text("{")
    with pytest.raises(OtherRunError, match="cannot be used"):
        planned(radiographs)


def test_starting_over_removes_the_former_shards(radiographs, planned):
    work(planned(radiographs))
    plan = planned(radiographs / "sub", overwrite=True)
    assert plan.output.names(SEGMENTATIONS) == set()
    assert plan.todo() == [0]


def test_shards_of_other_radiographs_have_other_names(radiographs, planned):
    names = [planned(radiographs).file_name(0)]
    (radiographs / "a_new_one.png").write_text("came later")
    names.append(planned(radiographs, overwrite=True).file_name(0))
    assert names[0] != names[1]


def test_starting_over_leaves_files_of_others_alone(radiographs, planned):
    plan = planned(radiographs)
    own = Path(plan.output.place) / "list" / "mine.txt"
    own.write_text("mine")
    planned(radiographs, overwrite=True)
    assert own.read_text() == "mine"


def test_nothing_to_segment_is_said(tmp_path, planned):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no radiographs here"):
        planned(tmp_path / "empty")


def test_a_worker_with_other_weights_does_not_start(radiographs, planned):
    plan = planned(radiographs)
    other = Plan(plan.output, plan.run, plan.wanted, "0" * 16, plan.radiographs, plan.shards, {})
    with pytest.raises(RuntimeError, match="other weights or another version"):
        ShardSegmenter(other)


def test_a_list_is_gone_through_one_line_at_a_time():
    endless = (f"/archive/{number}.dcm" for number in itertools.count())
    first = itertools.islice(Listing(endless), 3)
    assert [entry.name for entry in first] == ["0", "1", "2"]


def test_a_path_that_is_no_unicode_is_kept(tmp_path, planned):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    shutil.copy(RENDERED / "rendered_01.png", path)
    plan = planned(path)
    work(plan)
    assert [row["file"] for row in rows_in(plan)] == [as_utf8(path)]


def test_other_formats_are_refused_with_ray(radiographs, tmp_path, capsys):
    arguments = ["segment", str(radiographs), "-o", str(tmp_path / "out"), "--ray", "local", "--format", "png"]
    assert main(arguments) == 2
    assert "results are Parquet tables" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a server on this machine, as a URL; the environment leads to it."""
    boto3 = pytest.importorskip("boto3", reason="object stores are tested with moto: pip install 'moto[s3]' flask-cors")
    moto = pytest.importorskip("moto.server", reason="object stores are tested with moto: pip install 'moto[s3]' flask")
    pytest.importorskip("s3fs", reason="s3:// needs s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        boto3.client("s3").create_bucket(Bucket="archive")
        yield "s3://archive"
    server.stop()


def upload(folder: Path, url: str) -> str:
    """Copy a folder into a bucket; returns its URL there."""
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(url)
    for path in folder.rglob("*"):
        if path.is_file():
            filesystem.put_file(str(path), f"{root}/{path.relative_to(folder)}")
    return url


@pytest.fixture
def objects(radiographs, bucket, request):
    return upload(radiographs, f"{bucket}/{request.node.name}/in")


def test_a_folder_of_a_store_has_its_radiographs(objects):
    listing = Listing([with_slash(objects)])
    names = sorted(entry.name for entry in listing)
    assert names == ["bad", *NAMES[:3], f"sub/{NAMES[3]}"]
    assert dict(listing.ignored) == {".txt": 1}


def test_a_folder_of_a_store_that_is_not_there_is_a_failure(bucket):
    listing = Listing([f"{bucket}/nowhere/"])
    assert list(listing) == []
    assert "nowhere" in listing.failures[0].reason


def test_results_in_a_store_are_those_of_one_process(objects, planned, one_process):
    plan = planned(with_slash(objects), output=objects.replace("/in", "/out"))
    work(plan)
    assert by_name(rows_in(plan)) == one_process
    assert {row["file"].startswith(objects) for row in rows_in(plan)} == {True}


def test_a_run_in_a_store_ends_with_its_list_of_failures(objects, planned):
    plan = planned(f"{objects}/bad.png", f"{objects}/missing.png", output=objects.replace("/in", "/out"))
    work(plan)
    assert conclude(plan, {}) == 1
    with plan.output.open("failures.csv") as file:
        text = file.read().decode()
    assert f"{objects}/bad.png: not a picture but text" in text
    assert f"{objects}/missing.png: could not be fetched" in text


def test_an_object_larger_than_a_radiograph_is_not_fetched(objects, tmp_path):
    url = f"{objects}/{NAMES[0]}.png"
    with pytest.raises(RadiographError, match="more than 100 bytes"):
        _fetch(Listed(url, url, NAMES[0]), tmp_path / "here", 100)


@pytest.fixture
def identified(tmp_path, bucket, request):
    import numpy as np
    from PIL import Image

    from samples import write_dicom

    pixels = np.asarray(Image.open(RENDERED / "rendered_01.png"))
    (tmp_path / "one").mkdir()
    write_dicom(tmp_path / "one" / "a.dcm", pixels, bits=8, PatientID="P7")
    return upload(tmp_path / "one", f"{bucket}/{request.node.name}/in")


@pytest.mark.parametrize(("asked", "found"), [(True, "P7"), (False, None)])
def test_identifiers_of_objects_are_in_the_tables_where_asked_for(identified, planned, asked, found):
    wanted = Wanted(structures=("heart",), with_identifiers=asked)
    plan = planned(with_slash(identified), wanted=wanted)
    work(plan)
    assert rows_in(plan)[0].get("patient_id") == found


@pytest.fixture
def run_by_ray():
    """Starts the command with two workers of Ray on this machine."""
    pytest.importorskip("ray.data", reason="--ray needs Ray: pip install 'cxr-attn-unet[ray]'")
    started = []

    def run(given: str, output: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "cxr_attn_unet", "segment", given, "-o", output, "--structures", "heart"]
        command += ["--ray", "local", "--ray-workers", "2", "--shard-size", "2"]
        # a machine on which others take the memory is not what is tested
        environment = {**os.environ, "RAY_memory_monitor_refresh_ms": "0"}
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()  # with all of Ray
            process.communicate()


def worker_at_work(output: Path, process: subprocess.Popen) -> int:
    """The process that has begun a shard and not finished it."""
    while process.poll() is None:
        for mark in (output / ATTEMPTS).glob("attempt-*"):
            try:
                return int(mark.read_text())
            except (FileNotFoundError, ValueError):
                continue
        time.sleep(0.01)
    raise AssertionError(f"no shard was begun: {process.stderr.read()}")


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_and_doubles_nothing(run_by_ray, radiographs, tmp_path, one_process):
    output = tmp_path / "out"
    process = run_by_ray(str(radiographs), str(output))
    os.kill(worker_at_work(output, process), signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 1, said  # for the bad file
    shards = sorted((output / SEGMENTATIONS).iterdir())
    rows = [row for path in shards for row in pq.read_table(path).to_pylist()]
    assert len(shards) == 3
    assert len(rows) == 4
    assert by_name(rows) == one_process


@pytest.mark.slow
def test_two_workers_take_radiographs_from_a_store_and_put_results_there(run_by_ray, objects, one_process):
    output = objects.replace("/in", "/out")
    process = run_by_ray(objects, output)
    said = process.communicate()[1]
    assert process.returncode == 1, said
    store = Store(output)
    rows = []
    for name in store.names(SEGMENTATIONS):
        with store.open(f"{SEGMENTATIONS}/{name}") as file:
            rows += pq.read_table(file).to_pylist()
    assert by_name(rows) == one_process
