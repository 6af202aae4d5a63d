"""When the weights of a bundle are replaced."""

import pytest
import torch
from ignite.engine import Engine, Events

from cxr_attn_unet.training.handlers import Checkpoints


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
