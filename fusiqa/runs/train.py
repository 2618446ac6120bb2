"""Orchestrates one training run: read, check, split, fit, test once, explain."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fusiqa.config import ModelConfig, NetworkSettings, TrainConfig
from fusiqa.config.model import Architecture
from fusiqa.data import catalog, splits
from fusiqa.data.audit import Checked
from fusiqa.data.catalog import SYNTHETIC
from fusiqa.data.ratings import SET, SPLITS, Ratings, weighed_rows
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.scales import scale_bars
from fusiqa.explain.weights import collapse_warning, summarise_weights, weights_array, with_groups
from fusiqa.io import hold, write_csv, write_json
from fusiqa.machine import denormals_as_zero
from fusiqa.models.export import export
from fusiqa.models.quality import QualityModel, build_model, load_checkpoint
from fusiqa.progress import Say
from fusiqa.runs import folder
from fusiqa.runs.data import prepare, read_ratings, usable, warn_of_seen
from fusiqa.scoring.models import ONNX_FILE, find, source_of
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.torch import network_of
from fusiqa.stats.metrics import direction, mean_of_sets, measure
from fusiqa.training.fit import HISTORY_FILE, check_batches, fit, is_first_process, whole_network
from fusiqa.training.flaws import check_flaws_known, learn_flaws
from fusiqa.training.frozen import frozen_backbone
from fusiqa.training.predict import predict
from fusiqa.training.recipe import Recipe, inherit, resolve

SPAQ = "spaq"
USUAL_BATCH = 32  # of the published recipe, and of the runs by which the other default rates were chosen
USUAL_FROZEN_BATCH = 64  # the smallest batch that the default rate of heads on a frozen backbone was tried with
# Settings that only some fusions use:
READ_BY = {"single_scale": ("single",), "weighing": ("attention",), "attention_dropout": ("attention", "cross-scale")}
READ_BY |= {"entropy_weight": ("attention", "spatial", "cross-scale")}
UNREAD_BY_HEADS = ("drop_path", "logger")  # not used with a frozen backbone


def train(config: TrainConfig, *, prepared: Checked | None = None, say: Say = print) -> Path:
    """Train, choose the epoch on validation, test once, explain; everything is written to the run folder.

    `prepared` are the images, where another run of the same data settings has prepared them. Returns the run folder.
    """
    config = inherit(config)
    recipe, first = resolve(config), is_first_process()
    say = say if first else (lambda _: None)
    for line in notices(config):
        say(line)
    run_dir = folder.choose_run_dir(config)
    if first:
        folder.check_run_dir(run_dir, config, precision=recipe.precision)
        if config.run.resume and not folder.is_run(run_dir):
            say(f"notice: there is no run in {run_dir} to resume; a new one begins")
    with hold(run_dir) if first else nullcontext(), denormals_as_zero():
        if config.run.resume and (run_dir / folder.TEST_FILE).is_file():
            say(f"{run_dir} is already finished: nothing to resume")
            return run_dir
        sets = [prepared.ratings] if prepared else read_ratings(config.data)
        model = build(config.network, recipe, sets[0])
        shown: dict[str, Any] = {"say": say, "progress": config.run.progress and first}
        checked = prepared or prepare(config.data, sets, view=config.network.view, **shown)
        ratings = checked.ratings
        if config.network.flaws:
            check_flaws_known(without_weight_0(ratings, config))
        check_batches(model, ratings, recipe)
        if config.network.start_from:
            source, tested = folder.TrainedModel.at(find(config.network.start_from)[0]), ratings.part("test").names
            contents = [checked.contents[image] for image in tested]
            warn_of_seen(source, contents, f"the test split of {ratings.name}", say, whose="`start_from`'s ")
        if first:
            origin = folder.start_run(run_dir, config, resolved=resolved_settings(model, recipe, checked))
            splits.save(checked.ratings, run_dir / folder.SPLIT_FILE, checked.contents)
            model.provenance = {"dataset": ratings.name, "seed": config.run.seed, "commit": origin["commit"]}
        images = ", ".join(f"{(checked.ratings.table['split'] == split).sum()} {split}" for split in SPLITS)
        network = f"{model.config.backbone}, {model.config.fusion}, {parameters(model) / 1e6:.1f} M"
        say(f"{ratings.name}: {images} | {network} | {run_dir}")
        data = (frozen_backbone if recipe.frozen else whole_network)(model, checked, config.data, recipe)
        if fit(model, data, recipe, run_dir, say):
            trained = load_checkpoint(run_dir)
            predictions = data.predict_test(trained)
            named = name_flaws(trained, checked, recipe, config, run_dir, say) if config.network.flaws else {}
            if config.run.spaq and not {SYNTHETIC, SPAQ} & set(map(str.lower, config.data.datasets)):
                test_on_spaq(trained, recipe, run_dir, say)
            if config.run.export:
                leave_onnx(trained, run_dir, say)
            test(trained, predictions, recipe, run_dir, ratings, say, named)
            say(f"everything is in {run_dir}")
    return run_dir


def notices(config: TrainConfig) -> list[str]:
    """Lines about settings that have no effect, or that do not suit the default learning rates."""
    network, optimiser = config.network, config.optimiser
    lines = [f"warning: `{name}` has no effect with {why}" for name, why in ignored(config).items()]
    if network.attention_fusion and network.chosen_fusion == "single":
        lines.append("warning: `attention_fusion` has no effect without `multiscale`: one scale has no weights")
    usual = USUAL_FROZEN_BATCH if optimiser.freeze_backbone else USUAL_BATCH
    if optimiser.lr is None and optimiser.batch_size < usual // 2:
        lines.append(f"notice: the default learning rates are for a `batch_size` of about {usual}; try a lower `lr`")
    return lines


def ignored(config: TrainConfig) -> dict[str, str]:
    """Settings that were given but have no effect, each with the setting that is the reason."""
    fusion, usual = config.network.chosen_fusion, TrainConfig()
    unread = {name: f"`fusion` {fusion}" for name, readers in READ_BY.items() if fusion not in readers}
    if config.network.start_from:
        unread["backbone_weights"] = "`start_from`"
    if config.optimiser.freeze_backbone:
        unread |= dict.fromkeys(UNREAD_BY_HEADS, "`freeze_backbone`")
    return {name: why for name, why in unread.items() if config[name] != usual[name]}


def build(network: NetworkSettings, recipe: Recipe, ratings: Ratings) -> QualityModel:
    """The network of a run before its training. Raises FusiqaError where it cannot be built."""
    torch.manual_seed(recipe.run.seed)
    config = ModelConfig(
        fusion=network.chosen_fusion,
        gates_on_pools=network.chosen_fusion == "spatial" and recipe.frozen,
        score_range=ratings.score_range,
        dropout=recipe.chosen.dropout,
        drop_path=recipe.chosen.drop_path,
        timm_args=network.timm_args,
        **{each.name: getattr(network, each.name) for each in fields(Architecture)},
    )
    if network.start_from is None:
        return build_model(config, network.backbone_weights, resize=ratings.resize)
    source = load_checkpoint(find(network.start_from)[0])
    same = {name: getattr(source.config, name) for name in ("mean", "std")}
    same["gates_on_pools"] = config.gates_on_pools or source.config.gates_on_pools
    model = QualityModel(replace(config, **same), resize=ratings.resize)
    own = model.state_dict()
    try:  # all but the head that names flaws
        model.load_state_dict({name: each for name, each in source.state_dict().items() if name in own})
    except RuntimeError as reason:
        why = f"its weights do not fit `crop_size` {config.crop_size}; leave it out"
        raise FusiqaError(f"`start_from` {network.start_from}: {why}") from reason
    return model


def resolved_settings(model: QualityModel, recipe: Recipe, checked: Checked) -> dict[str, Any]:
    """What config.json records as resolved."""
    return {
        "fusion": model.config.fusion,
        "backbone": recipe.backbone,
        **recipe.chosen._asdict(),
        "precision": recipe.precision,
        "resize": model.resize,
        "score_range": list(model.config.score_range),
        "images": checked.ratings.table["split"].value_counts().to_dict(),
        "data_fingerprint": checked.fingerprint,
        "split_fingerprint": splits.split_fingerprint(checked.ratings),
        "broken": [row._asdict() for row in checked.broken],
    }


def parameters(model: QualityModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def without_weight_0(ratings: Ratings, config: TrainConfig) -> Ratings:
    """Without the training images of data sets of weight 0, which are only validated and tested."""
    training = ratings.part("train")
    images = training.table["image"].drop(weighed_rows(training, config.optimiser.dataset_weights))
    return ratings.without(images.tolist())


def name_flaws(
    trained: QualityModel, checked: Checked, recipe: Recipe, config: TrainConfig, run_dir: Path, say: Say
) -> dict[str, Any]:
    """Add the flaw head to the model of the best epoch, in memory and in the run folder; returns its test figures."""
    run = recipe.run
    own: dict[str, Any] = {"device": recipe.device, "seed": run.seed, "progress": run.progress}
    ratings = without_weight_0(checked.ratings, config)
    trained.flaws, figures = learn_flaws(trained, ratings, num_workers=config.data.num_workers, **own)
    trained.cpu().config = replace(trained.config, flaws=True)
    trained.save_pretrained(run_dir)
    error = f"expected calibration error {figures['calibration_error']:.3f}"
    say(f"flaws: {figures['named']:.3f} of the clear ones in the test split named correctly, {error}")
    return {"flaws": figures}


def test(
    trained: QualityModel, scored: pd.DataFrame, recipe: Recipe, run_dir: Path, ratings: Ratings, say: Say,
    more: dict[str, Any],
) -> None:  # fmt: skip
    """Write attention.png, predictions.csv and, last, test.json, which marks a run as finished."""
    if scored[SCALE_COLUMNS[0]].notna().all():
        summary, sizes = summarise_weights(with_groups(scored, ratings.name)), trained.pyramid.scale_sizes()
        title = f"Scale weights on the test split of {ratings.name}"
        scale_bars(summary, scale_sizes=sizes, title=title, path=run_dir / folder.ATTENTION_FILE)
        if collapsed := collapse_warning(weights_array(scored)):
            say(f"warning: {collapsed}")
    else:
        say(f"no {folder.ATTENTION_FILE}: {trained.config.fusion} fusion does not weigh its scales")
    history = folder.read_run_table(run_dir / HISTORY_FILE)
    of_training = {
        "backbone": recipe.backbone,
        "resize": trained.resize,
        "parameters": parameters(trained),
        "seconds_per_epoch": round(float((history["train_seconds"] + history["validation_seconds"]).mean()), 2),
        "epochs": len(history),
        "best_epoch": trained.provenance["epoch"],
        "validation_srcc": trained.provenance["val_srcc"],
        **more,
    }
    write_test(scored, of_training, run_dir / folder.PREDICTIONS_FILE, run_dir / folder.TEST_FILE, ratings, say)


def test_on_spaq(trained: QualityModel, recipe: Recipe, run_dir: Path, say: Say) -> None:
    """Test on all of SPAQ, by its protocol, where its folder is found; a failure is only a notice."""
    progress = recipe.run.progress
    try:
        published = catalog.read(SPAQ, data_dir=recipe.run.spaq_dir)
        ratings = usable(published, rated=True, progress=progress, say=say).ratings
        predictions = predict(trained, ratings, device=recipe.device, on_range=True, progress=progress)
        table, record = run_dir / "predictions_spaq.csv", run_dir / "test_spaq.json"
        write_test(predictions, {"resize": ratings.resize}, table, record, ratings, say)
    except FusiqaError as reason:
        say(f"notice: no test on SPAQ ({reason}); `no_spaq` skips it")


def write_test(
    scored: pd.DataFrame, more: dict[str, Any], table: Path, record: Path, ratings: Ratings, say: Say
) -> None:
    """Write predictions, then their metrics with 95 % intervals and `more` about the test; of several sets each."""
    several = scored.groupby(SET, sort=False) if SET in scored else [(ratings.name, scored)]
    parts = {str(name): part for name, part in several}
    measured = {name: measure(part["score"].to_numpy(), part["mos"].to_numpy()) for name, part in parts.items()}
    result = mean_of_sets(list(measured.values())).to_json() | more
    if len(measured) > 1:
        resizes = dict(zip(ratings.table[SET], ratings.resizes, strict=True))
        result["sets"] = {name: each.to_json() | {"resize": resizes[name]} for name, each in measured.items()}
    write_csv(scored, table)
    write_json(record, result)
    for name, each in measured.items():
        figures = f"SRCC {each.srcc:.4f}, PLCC {each.plcc:.4f}"
        say(f"test on {name}: {figures} (95 % interval), n = {each.n}{direction(each.srcc.value)}")


def leave_onnx(trained: QualityModel, run_dir: Path, say: Say) -> None:
    """Write model.onnx; a failure is only a notice."""
    try:
        source, network = source_of(run_dir), network_of(trained.cpu(), run_dir, name=run_dir.resolve().name)
        export(network, run_dir / ONNX_FILE, source=source)
    except Exception as reason:  # the exporter may raise anything for an unknown backbone
        why = (str(reason).strip() or type(reason).__name__).splitlines()[0]
        say(f"notice: no {ONNX_FILE} ({why}); `no_export` skips it")
