"""When the weights of a bundle are replaced, and what stays of a training that was stopped."""

import pytest
import torch
from ignite.engine import Engine, Events

from cxr_attn_unet.files import claimed, sha256
from cxr_attn_unet.networks import load_weights, save_weights
from cxr_attn_unet.networks.checkpoint import unfinished_training
from cxr_attn_unet.training.handlers import Checkpoints
from cxr_attn_unet.training.handlers.checkpoints import how_to_begin, read_last


@pytest.fixture
def engines(tmp_path):
    """A trainer and an evaluator whose metric is .5, with checkpoints in a folder."""
    network = torch.nn.Linear(1, 1)
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def measure(engine):
        engine.state.metrics, engine.state.key_metric_name = {"dice": 0.5}, "dice"

    weights = tmp_path / "models" / "model.pt"
    Checkpoints(weights, tmp_path / "last.pt", {"model": network}, network, evaluator).attach(trainer)
    return trainer, evaluator, weights


def test_a_validation_while_training_saves_the_weights(engines):
    trainer, evaluator, weights = engines
    trainer.state.scaler = trainer.scaler = None
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run([0], max_epochs=1)
    assert weights.is_file()


def test_an_evaluation_by_itself_leaves_the_weights_alone(engines):
    _, evaluator, weights = engines
    evaluator.run([0])
    assert not weights.exists()


class Stopped(Exception):
    """Stands for a signal that ends the process at that moment."""


EPOCHS = 2


def train(folder, stop=None, request=None, resume=False, validates=True, at_start=True):
    """Train for two epochs, each of which adds one to the weights and makes them better.

    Args:
        folder: has ``model.pt``, which is started from, and ``last.pt``.
        stop: the event at whose end the process is stopped: (epoch, "validated") or (epoch, "saved").
        request: of the checkpoints.
        resume: of the checkpoints.
        validates: after each epoch.
        at_start: before the first epoch too.
    """
    network = torch.nn.Linear(1, 1)
    trainer, evaluator = Engine(lambda engine, batch: grow(network)), Engine(lambda engine, batch: None)
    trainer.scaler = None

    @trainer.on(Events.STARTED)
    def load():
        load_weights(network, how_to_begin(folder / "model.pt", folder / "last.pt", named)[0] if request else start)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def measure(engine):
        engine.state.metrics, engine.state.key_metric_name = {"dice": float(network.weight.detach())}, "dice"

    def validate():
        evaluator.run([0])
        if stop == (trainer.state.epoch, "validated"):
            raise Stopped

    start = folder / "model.pt"
    if validates and at_start and not resume:
        trainer.add_event_handler(Events.STARTED, validate)
    if validates:
        trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    checkpoints = Checkpoints(
        start,
        folder / "last.pt",
        {"model": network},
        network,
        evaluator if validates else None,
        resume,
        None if request is None else named(how_to_begin(start, folder / "last.pt", named)[0]),
    )
    checkpoints.attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def saved():
        if stop == (trainer.state.epoch, "saved"):
            raise Stopped

    trainer.run([0], max_epochs=EPOCHS)


def grow(network):
    with torch.no_grad():
        network.weight.add_(1)


def named(weights):
    return f"the same labels, from {sha256(weights)}"


def weight_in(path):
    return float(torch.load(path, weights_only=True)["weight"])


@pytest.fixture
def folder(tmp_path):
    """Weights of 10 that a training starts from; they end at 12."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, 10)
    save_weights(network, tmp_path / "model.pt")
    return tmp_path


@pytest.fixture
def stopped(folder):
    """Stopped when the first epoch was validated and its state not yet written."""
    with pytest.raises(Stopped):
        train(folder, (1, "validated"))
    return folder


def test_weights_of_a_training_that_was_stopped_are_known_as_such(stopped):
    assert unfinished_training(stopped / "model.pt") is not None


def test_weights_of_a_training_that_has_ended_are_not(folder):
    train(folder)
    assert unfinished_training(folder / "model.pt") is None


def test_weights_that_were_put_there_meanwhile_are_not(stopped):
    other = torch.nn.Linear(1, 1)
    torch.save(other.state_dict(), stopped / "model.pt")
    assert unfinished_training(stopped / "model.pt") is None


def test_half_trained_weights_do_not_replace_those_from_before(stopped):
    train(stopped)
    assert weight_in(stopped / "model.previous.pt") == 10


def test_half_trained_weights_are_kept_beside_them(stopped):
    train(stopped)
    assert weight_in(stopped / "model.unfinished.pt") == 11


@pytest.mark.parametrize("kept", ["model.previous.pt", "model.unfinished.pt"])
def test_what_is_kept_can_be_loaded(stopped, kept):
    train(stopped)
    load_weights(torch.nn.Linear(1, 1), stopped / kept)


def test_neither_do_they_after_a_second_stop(stopped):
    with pytest.raises(Stopped):
        train(stopped, (1, "validated"))
    train(stopped)
    assert weight_in(stopped / "model.previous.pt") == 10


def test_weights_of_a_training_that_has_ended_are_kept_as_those_from_before(folder):
    train(folder)
    train(folder)
    assert weight_in(folder / "model.previous.pt") == 12


def test_a_resumed_training_keeps_those_from_before(folder):
    with pytest.raises(Stopped):
        train(folder, (1, "saved"))
    train(folder, resume=True)
    assert (weight_in(folder / "model.pt"), weight_in(folder / "model.previous.pt")) == (12, 10)


def test_the_state_of_an_earlier_training_is_not_taken_for_that_of_this_one(folder):
    train(folder)
    with pytest.raises(Stopped):
        train(folder, (1, "validated"))
    assert not (folder / "last.pt").exists()


def test_the_state_of_an_earlier_training_is_kept(folder):
    train(folder)
    train(folder)
    assert read_last(folder / "last.previous.pt")["run"]["epoch"] == EPOCHS


def test_a_validation_before_the_first_epoch_leaves_the_folder_of_another_process_alone(folder):
    before = (folder / "model.pt").read_bytes()
    with claimed(folder):
        with pytest.raises(BlockingIOError, match="another training"):
            train(folder)
        assert (folder / "model.pt").read_bytes() == before


STOPS = [(0, "validated"), (1, "validated"), (1, "saved"), (2, "validated"), (2, "saved")]


def train_again(folder, **options):
    resume = how_to_begin(folder / "model.pt", folder / "last.pt", named)[2]
    train(folder, request="the same", resume=resume, **options)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: f"{stop[1]}_{stop[0]}")
def test_the_same_request_again_gives_what_it_would_have_given(folder, stop):
    for _ in range(2):
        with pytest.raises(Stopped):
            train(folder, stop, request="the same")
    train_again(folder)
    assert (weight_in(folder / "model.pt"), weight_in(folder / "model.previous.pt")) == (12, 10)


@pytest.mark.parametrize("stop", [(1, "saved"), (2, "saved")], ids=["saved_1", "saved_2"])
def test_so_does_one_without_validation(folder, stop):
    with pytest.raises(Stopped):
        train(folder, stop, request="the same", validates=False)
    train_again(folder, validates=False)
    assert (weight_in(folder / "model.pt"), weight_in(folder / "model.previous.pt")) == (12, 10)


def test_a_state_is_resumed_from(folder):
    with pytest.raises(Stopped):
        train(folder, (1, "saved"), request="the same")
    assert how_to_begin(folder / "model.pt", folder / "last.pt", named)[2]


def test_the_state_of_a_training_that_has_ended_is_not(folder):
    train(folder, request="the same")
    assert not how_to_begin(folder / "model.pt", folder / "last.pt", named)[2]


def test_the_state_of_another_request_is_not(folder):
    with pytest.raises(Stopped):
        train(folder, (1, "saved"), request="the same")
    start, _, resume = how_to_begin(folder / "model.pt", folder / "last.pt", lambda path: f"other labels, {path}")
    assert (start, resume) == (folder / "model.pt", False)


def test_a_damaged_state_is_not(folder, caplog):
    with pytest.raises(Stopped):
        train(folder, (1, "saved"), request="the same")
    (folder / "last.pt").write_bytes((folder / "last.pt").read_bytes()[:-100])
    assert not how_to_begin(folder / "model.pt", folder / "last.pt", named)[2]
    assert "not a checkpoint to resume from" in caplog.text
