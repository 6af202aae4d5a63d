"""What a service remembers: each instance once, until it is done, skipped or given up."""

import sqlite3
import threading

import pytest

from cxr_attn_unet.dicom_network import State, StateError
from cxr_attn_unet.dicom_network.state import DEAD, DONE

UID = "1.2.3"


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state")
    yield opened
    opened.close()


def in_hand(state, uid=UID):
    """An instance that was taken in, with its file and results."""
    state.keep_file(uid, b"radiograph")
    state.add(uid)
    state.results_of(uid).mkdir()
    return state.get(uid)


def files(state) -> list[str]:
    return [path.name for folder in ("incoming", "results") for path in (state.folder / folder).iterdir()]


def test_an_instance_is_taken_in_once(state):
    assert [state.add(UID), state.add(UID)] == [True, False]


def test_what_is_done_is_not_taken_in_again(state):
    state.move(in_hand(state), DONE)
    assert not state.add(UID)
    assert state.next_due() is None


def test_files_of_what_is_done_are_removed(state):
    state.move(in_hand(state), DONE)
    assert files(state) == []


def test_names_of_files_do_not_tell_the_uid(state):
    assert UID not in str(state.keep_file(UID, b"").relative_to(state.folder))


def test_an_attempt_is_counted_before_it_ends(state):
    state.begin(in_hand(state), 1e12)
    assert state.get(UID).attempts == 1
    assert state.next_due() is None


def test_the_one_that_is_due_first_comes_first(state):
    for uid in ("1.1", "1.2"):
        state.add(uid)
    state.begin(state.get("1.1"), 0.0)
    assert state.next_due().instance_uid == "1.1"


def test_another_process_sees_what_was_noted(state):
    state.add(UID)
    assert State.existing(state.folder).get(UID).stage == "waiting"


def test_a_dead_letter_keeps_its_file_and_comes_back(state):
    state.begin(in_hand(state), 1e12)
    state.move(state.get(UID), DEAD, "why")
    assert state.file_of(UID).read_bytes() == b"radiograph"
    assert state.revive() == 1
    assert (state.next_due().instance_uid, state.next_due().attempts) == (UID, 0)


def test_a_dead_letter_is_discarded_with_its_file(state):
    state.move(in_hand(state), DEAD, "why")
    assert state.discard([state.get(UID).number]) == 1
    assert (state.get(UID).stage, state.get(UID).reason, files(state)) == ("skipped", "discarded: why", [])


def test_a_number_of_no_dead_letter_is_named(state):
    with pytest.raises(ValueError, match="no dead letter has the number 7"):
        state.revive([7])


def test_what_a_killed_process_left_is_removed_by_the_next_one(state):
    in_hand(state)
    state.keep_file("4.5.6", b"was never noted")
    state.hold()
    assert files(state) == [state.file_of(UID).name]


def test_the_folder_is_free_again_when_its_process_is_gone(state):
    state.hold()
    another = State(state.folder)
    with pytest.raises(StateError, match="another process"):
        another.hold()
    state.close()
    another.hold()
    another.close()


def test_threads_take_instances_in_at_the_same_time(state):
    new = []
    threads = [
        threading.Thread(target=lambda: new.extend(state.add(f"1.{number}") for number in range(50))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == state.counts()["waiting"] == 50


def test_a_folder_of_another_version_is_refused(state):
    with sqlite3.connect(state.folder / "instances.sqlite3") as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(StateError, match="another version"):
        State(state.folder)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used as --state"):
        State(tmp_path / "file")
