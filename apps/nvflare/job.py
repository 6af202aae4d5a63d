"""Write a job for NVIDIA FLARE: hospitals train a bundle together, and no radiograph leaves its hospital.

Each site trains the bundle as it is, by MONAI's MonaiAlgo, for some epochs; the server averages the weights, by the
number of steps of each site (FedAvg, McMahan et al., AISTATS 2017), and sends the mean out again.

Needs pip install 'cxr-attn-unet[federated]'.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# everything of a bundle that sites need; weights are sent to them as the first global model
CONFIGS = ("train.json", "evaluate.json", "metadata.json")
WEIGHTS = "start.pt"
METRIC = "val_mean_dice"
SITES = "@ALL"


def train_values(rounds: int, local_epochs: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a site changes in ``train.json``: one schedule of the learning rate over all rounds.

    Args:
        rounds: of the whole job.
        local_epochs: of a site in each round.
        values: more overrides, such as ``image_size``.
    """
    return {
        "epochs": rounds * local_epochs,
        # MonaiAlgo counts a round's epochs alone
        "total_steps": "$cxr_attn_unet.training.schedule.total_steps(@epochs, @train#dataloader)",
        # what is judged while it trains is the network itself: the average belongs to runs that train by themselves
        "validate#evaluator#network": "@network",
        **values,
    }


def client_config(bundle: str, local_epochs: int, train: Mapping[str, Any], evaluate: Mapping[str, Any]) -> dict:
    """NVIDIA FLARE's ``config_fed_client.json`` of a site."""
    return {
        "format_version": 2,
        "executors": [
            {
                "tasks": ["train", "validate", "submit_model"],
                "executor": {
                    "path": "monai_nvflare.client_algo_executor.ClientAlgoExecutor",
                    "args": {"client_algo_id": "client_algo", "key_metric": METRIC},
                },
            }
        ],
        "task_result_filters": [],
        "task_data_filters": [],
        "components": [
            {
                "id": "client_algo",
                "path": "monai.fl.client.MonaiAlgo",
                "args": {
                    "bundle_root": f"config/{bundle}",
                    "local_epochs": local_epochs,
                    "train_kwargs": dict(train),
                    "eval_kwargs": dict(evaluate),
                },
            }
        ],
    }


def server_config(bundle: str, rounds: int, sites: int, start: bool) -> dict:
    """NVIDIA FLARE's ``config_fed_server.json``: so many rounds of FedAvg, waiting for all sites."""
    return {
        "format_version": 2,
        "task_data_filters": [],
        "task_result_filters": [],
        "workflows": [
            {
                "id": "scatter_and_gather",
                "path": "nvflare.app_common.workflows.scatter_and_gather.ScatterAndGather",
                "args": {
                    "min_clients": sites,
                    "num_rounds": rounds,
                    "aggregator_id": "aggregator",
                    "persistor_id": "persistor",
                    "shareable_generator_id": "shareable_generator",
                    "train_task_name": "train",
                },
            }
        ],
        "components": [
            {
                "id": "persistor",
                "path": "monai_nvflare.monai_bundle_persistor.MonaiBundlePersistor",
                "args": {
                    "bundle_root": f"config/{bundle}",
                    "source_ckpt_filename": WEIGHTS if start else None,
                },
            },
            {
                "id": "shareable_generator",
                "path": "nvflare.app_common.shareablegenerators.full_model_shareable_generator."
                "FullModelShareableGenerator",
                "args": {},
            },
            {
                "id": "aggregator",
                "path": "nvflare.app_common.aggregators.intime_accumulate_model_aggregator."
                "InTimeAccumulateWeightedAggregator",
                "args": {"expected_data_kind": "WEIGHT_DIFF"},
            },
            {
                "id": "model_selector",
                "path": "nvflare.app_common.widgets.intime_model_selector.IntimeModelSelector",
                "args": {},
            },
        ],
    }


def copy_bundle(bundle: Path, app: Path, start: Path | None = None) -> None:
    """Put a bundle's configs, as they are, and the weights to start from into an app of the job."""
    configs = app / "config" / bundle.name / "configs"
    configs.mkdir(parents=True)
    for name in CONFIGS:
        shutil.copyfile(bundle / "configs" / name, configs / name)
    if start is not None:
        shutil.copyfile(start, configs.parent / WEIGHTS)


def write_job(
    bundle: Path,
    job: Path,
    sites: Mapping[str, str | None],
    rounds: int,
    local_epochs: int = 1,
    start: Path | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Write the job's folder.

    Args:
        bundle: folder of the bundle.
        job: folder to write, which must not be there.
        sites: the folder of each site's data by its name; ``None`` where the site says so itself, by ``CXR_DATA``.
        rounds: number of times that weights are averaged.
        local_epochs: of a site between them.
        start: weights of the first global model; random ones if not given.
        values: overrides for ``train.json`` at every site.

    Raises:
        FileExistsError: the job's folder is there.
        FileNotFoundError: not a bundle, or no weights of that name.
    """
    for path in (bundle / "configs" / CONFIGS[0], start):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path}: no such file. Name a bundle's folder, and weights that there are.")
    job.mkdir(parents=True)
    deploy = {"app_server": ["server"]}
    copy_bundle(bundle, job / "app_server", start)
    _write(
        job / "app_server" / "config" / "config_fed_server.json",
        server_config(bundle.name, rounds, len(sites), start is not None),
    )
    for site, data in sites.items():
        own = {} if data is None else {"dataset_dir": data}
        app = job / f"app_{site}"
        copy_bundle(bundle, app)
        train = train_values(rounds, local_epochs, {**(values or {}), **own})
        evaluate = {**(values or {}), **own}
        _write(app / "config" / "config_fed_client.json", client_config(bundle.name, local_epochs, train, evaluate))
        deploy[app.name] = [site]
    meta = {"name": bundle.name, "resource_spec": {}, "min_clients": len(sites), "deploy_map": deploy}
    _write(job / "meta.json", meta)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python apps/nvflare/job.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example, two hospitals on this machine:\n"
        "  python apps/nvflare/job.py bundles/heart_attn_unet JOB --site jsrt=DATA/jsrt --site wingspan=DATA/wingspan\n"
        "  nvflare simulator JOB -w WORKSPACE -c jsrt,wingspan -t 2",
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("job", type=Path, help="folder to write")
    parser.add_argument(
        "--site",
        required=True,
        action="append",
        metavar="NAME[=DATA]",
        help="a site, and its data on that site's machine; where not given, the site's variable CXR_DATA says it",
    )
    parser.add_argument("--rounds", type=int, default=10, help="number of times that weights are averaged")
    parser.add_argument("--local_epochs", type=int, default=1, help="epochs of a site between them")
    parser.add_argument("--initial_weights", type=Path, help="of the first global model; random ones if not given")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "JSON"), help="at every site")
    options = parser.parse_args(arguments)
    sites = {}
    for site in options.site:
        name, _, data = site.partition("=")
        sites[name] = str(Path(data).resolve()) if data else None
    try:
        values = {key: json.loads(value) for key, value in options.set}
        write_job(
            options.bundle, options.job, sites, options.rounds, options.local_epochs, options.initial_weights, values
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(options.job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
