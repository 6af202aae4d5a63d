"""``--tracking mlflow``, which MONAI offers for any bundle, with ours."""

import pytest
from monai.bundle import create_workflow

from conftest import REPOSITORY, write_folder

BUNDLE = REPOSITORY / "bundles" / "heart_attn_unet"
SMALL = {"width": 4, "image_size": 32, "batch_size": 4, "num_workers": 0, "device": "cpu", "epochs": 2}


def train(folder, **options):
    data = write_folder(folder / "data", "heart", 10)
    workflow = create_workflow(
        config_file=[str(BUNDLE / "configs" / "train.json")],
        workflow_type="train",
        bundle_root=str(BUNDLE),
        dataset_dir=str(data),
        output_dir=str(folder / "out"),
        ckpt_dir=str(folder / "out"),
        **SMALL,
        **options,
    )
    workflow.run()
    workflow.finalize()


def test_tracking_is_off_unless_asked_for(tmp_path):
    train(tmp_path)
    assert not list((tmp_path / "out").glob("mlruns*"))


def test_a_tracked_run_is_in_a_local_file(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install -e '.[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(tmp_path, tracking="mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/out/mlruns.db")
    (experiment,) = (one for one in client.search_experiments() if one.name == "monai_experiment")
    (run,) = client.search_runs([experiment.experiment_id])
    curves = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    assert run.info.status == "FINISHED"
    assert len(curves["train_loss"]) == 2 * 2
    assert [point.step for point in curves["val_mean_dice"]] == [1, 2]
    assert len(list((tmp_path / "out").glob("config_*.json"))) == 1
