"""Training: repeatable, resumable, checked before it starts, and a bundle at the end."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_tiles import make_recipe, make_tiles

from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.errors import BundleError, ConfigError, DataError, LeakError, OutputError
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.training.checks import check_recipe
from damagenet.training.data import open_training_data, pixel_statistics
from damagenet.training.hardware import Hardware
from damagenet.training.lightning_module import DamageModule
from damagenet.training.losses import Outcome, build_loss
from damagenet.training.train import train
from models.factory import build_network


def trained(out, recipe=None, **options):
    return train(recipe or make_recipe(), out, tiles=make_tiles(), progress=False, **options)


def same_weights(one, other):
    own, theirs = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(own[name], theirs[name]) for name in own)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    recipe = make_recipe(average_weights=0.9)
    return trained(tmp_path_factory.mktemp("made") / "out", recipe, command="damagenet train it")


def test_a_training_leaves_a_bundle_that_says_where_it_comes_from(bundle):
    card = bundle.card
    assert card.name == "made"
    assert card.command == "damagenet train it"
    assert card.training_tiles.count == 64
    assert card.class_prior == 0.5
    assert card.calibration.fitted_on == "validation part of published, 24 tiles"
    assert card.uncertain_band[0] <= card.threshold <= card.uncertain_band[1]
    assert "CC BY 4.0" in card.training_tiles.licence
    assert "unconfirmed" in card.training_tiles.licence
    assert set(card.versions) == {"damagenet", "torch", "lightning", "albumentations", "numpy"}
    tiles = make_tiles().manifest.iloc[:64]
    assert bundle.training_tiles()["sha256"].tolist() == tiles["sha256"].tolist()


def test_a_training_leaves_logs_and_checkpoints(bundle):
    out = bundle.folder.parent
    logged = next(out.glob("logs/csv/*/metrics.csv")).read_text()
    assert "validation/balanced_accuracy" in logged
    assert len(list(out.glob("logs/tensorboard/*/events.*"))) == 1
    assert (out / "best.ckpt").exists()
    assert (out / "last.ckpt").exists()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(bundle, tmp_path):
    again = trained(tmp_path / "again", make_recipe(average_weights=0.9))
    other = trained(tmp_path / "other", make_recipe(average_weights=0.9, seed=1))
    assert same_weights(bundle, again)
    assert bundle.card.weights_sha256 == again.card.weights_sha256
    assert not same_weights(bundle, other)


def test_an_interrupted_training_continues_to_the_same_weights(bundle, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    recipe = make_recipe(average_weights=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path, recipe)
    assert not (tmp_path / "bundle").exists()
    assert same_weights(bundle, trained(tmp_path, recipe))


@pytest.mark.parametrize("score", [100.0, torch.inf])
def test_a_training_that_stopped_early_trains_no_further_when_resumed(score, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    said, patience = DamageModule.on_validation_epoch_end, 3
    seen = []

    def worse(module):
        # Without a gain the first three epochs after the first; not finite in the second already.
        seen.append(module.current_epoch)
        if module.current_epoch > 0:
            module.validation_loss.update(torch.tensor(score), weight=1000)
        said(module)

    def cut(*_, **__):
        raise PowerCutError

    recipe = make_recipe(
        epochs=8, early_stopping={"patience": patience}, select_on="loss", average_weights=0.9
    )
    monkeypatch.setattr(DamageModule, "on_validation_epoch_end", worse)
    whole = trained(tmp_path / "whole", recipe)
    with monkeypatch.context() as patch:
        patch.setattr("damagenet.training.train.describe_network", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path / "cut", recipe)
    epochs = [0, 1] if math.isinf(score) else [*range(1 + patience)]
    assert seen == epochs * 2
    assert same_weights(whole, trained(tmp_path / "cut", recipe))
    assert seen == epochs * 2


def test_a_training_goes_on_after_its_last_epoch_also_where_none_was_better(tmp_path):
    # A network without batch norms, which a rate of nearly nothing leaves as it is.
    plain = Choice(name="all_cnn", parameters={"width": 8, "dropout": 0, "input_dropout": 0})
    recipe = make_recipe(epochs=2, optimizer={"name": "sgd", "lr": 1e-12})
    model = recipe.model.model_copy(update={"architecture": plain})
    trained(tmp_path, recipe.model_copy(update={"model": model}))
    ends = {
        name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert ends == {"best": 0, "last": 1}


def test_a_balanced_epoch_shows_classes_alike_and_regions_alike_within_them():
    tiles = make_tiles()
    tiles.manifest["region"] = np.where(np.arange(len(tiles)) % 8 == 1, "victoria", "houston-west")
    tiles.manifest.loc[tiles.manifest["label"] == 0, "region"] = "houston-west"
    hardware = Hardware(accelerator="cpu")
    data = replace(open_training_data(make_recipe(), tiles), balance="region")
    loader = data.train_loader(batch_size=16, seed=4, hardware=hardware)
    drawn: list[int] = []
    for epoch in range(200):
        loader.sampler.set_epoch(epoch)
        numbers = list(loader.sampler)
        assert {number // 64 for number in numbers} == {epoch}
        drawn += [number % 64 for number in numbers]
    assert len(drawn) == 200 * 64
    rows = tiles.manifest.iloc[data.split.train[drawn]]
    shares = rows.groupby(["label", "region"]).size() / len(rows)
    wanted = {(0, "houston-west"): 0.5, (1, "houston-west"): 0.25, (1, "victoria"): 0.25}
    assert shares.to_dict() == pytest.approx(wanted, abs=0.02)
    loader.sampler.set_epoch(7)
    assert list(loader.sampler) == list(loader.sampler)


def test_numbers_drawn_between_epochs_do_not_change_the_weights(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(DamageModule, "on_train_epoch_start", lambda module: torch.rand(7))
    assert same_weights(bundle, trained(tmp_path, make_recipe(average_weights=0.9)))


def test_a_finished_training_is_returned_not_repeated(bundle, monkeypatch):
    monkeypatch.setattr(DamageModule, "training_step", None)
    again = trained(bundle.folder.parent, make_recipe(average_weights=0.9))
    assert same_weights(bundle, again)


def test_a_folder_of_another_recipe_is_refused_unless_started_anew(bundle):
    out = bundle.folder.parent
    with pytest.raises(OutputError, match="holds a training by another recipe"):
        trained(out, make_recipe(epochs=3))


def test_no_resume_starts_anew(tmp_path):
    trained(tmp_path, make_recipe(epochs=1))
    fresh = trained(tmp_path, make_recipe(epochs=1, seed=5), resume=False)
    assert same_weights(fresh, trained(tmp_path / "b", make_recipe(epochs=1, seed=5)))


def test_what_an_unfinished_new_start_left_is_not_taken_for_the_old_training(tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        raise PowerCutError

    trained(tmp_path, make_recipe(epochs=1))
    other = make_recipe(epochs=1, seed=5)
    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path, other, resume=False)
    assert same_weights(trained(tmp_path, other), trained(tmp_path / "b", other))


def test_a_training_that_never_began_leaves_the_folder_to_another_recipe(tmp_path):
    recipe = make_settings(Recipe, {"data": {"path": "nowhere"}})
    with pytest.raises(DataError, match="nowhere is no prepared data set"):
        train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_training_learns(tmp_path):
    recipe = make_recipe(epochs=4, schedule="cosine", select_on="loss")
    card = trained(tmp_path, recipe).card
    assert card.uncertain_band == (card.threshold, card.threshold)


def test_a_linear_probe_trains_the_head_alone(bundle, tmp_path):
    recipe = make_recipe(transfer="linear_probe", epochs=1)
    model = recipe.model.model_copy(update={"weights": str(bundle.folder)})
    probe = trained(tmp_path, recipe.model_copy(update={"model": model}))
    own, source = probe.network.state_dict(), bundle.network.state_dict()
    changed = {name for name in own if not torch.equal(own[name], source[name])}
    assert changed == {"head.weight", "head.bias"}
    assert "Started from other weights" in probe.card.training_tiles.split


def test_a_linear_probe_in_steps_takes_every_tile_as_it_is(bundle):
    values = make_recipe().model_dump()
    values["model"]["weights"] = str(bundle.folder)
    values["training"] = {"transfer": "linear_probe"}
    with pytest.raises(
        ConfigError, match=r"augmentation is 'd4' but training\.transfer is linear_p"
    ):
        check_recipe(make_settings(Recipe, values))
    values["training"]["optimizer"] = "lbfgs"
    check_recipe(make_settings(Recipe, values))


def test_weights_of_another_architecture_are_refused(bundle, tmp_path):
    recipe = make_recipe(transfer="finetune")
    model = recipe.model.model_copy(
        update={"weights": str(bundle.folder), "architecture": Choice(name="cao_choe")}
    )
    with pytest.raises(ConfigError, match=r"model\.architecture is 'cao_choe' but the weights in"):
        trained(tmp_path, recipe.model_copy(update={"model": model}))


def test_a_folder_from_before_a_setting_existed_is_still_known(tmp_path):
    recipe = make_recipe(epochs=1)
    first = trained(tmp_path, recipe)
    path = tmp_path / "recipe.json"
    told = json.loads(path.read_text())
    del told["training"]["layer_decay"]
    path.write_text(json.dumps(told))
    assert same_weights(trained(tmp_path, recipe), first)
    with pytest.raises(OutputError, match="holds a training by another recipe"):
        trained(tmp_path, make_recipe(epochs=1, layer_decay=0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"architecture": "vgg"}}, "model.architecture: unknown architecture 'vgg'"),
        ({"model": {"activation": "rleu"}}, r"unknown activation 'rleu' \(did you mean 'relu'\?\)"),
        (
            {"model": {"init": "hee"}},
            r"unknown init 'hee' \(did you mean 'he'\?\); choose one of: autoinit",
        ),
        ({"model": {"init": {"name": "xavier", "gain": "x"}}}, "gain must be a number, got 'x'"),
        ({"model": {"regulariser": "depth"}}, "model.regulariser: unknown regulariser 'depth'"),
        (
            {"training": {"optimizer": "adan"}},
            r"optimizer: unknown optimizer 'adan' \(did you mean 'adam'\?\); choose one of",
        ),
        (
            {"training": {"optimizer": {"name": "sgd", "lrr": 1}}},
            "no parameter 'lrr'; it takes: lr",
        ),
        ({"training": {"optimizer": {"name": "adamw", "lr": -1}}}, "Invalid learning rate: -1"),
        ({"training": {"schedule": "cyclic"}}, "unknown schedule 'cyclic'; choose one of: const"),
        (
            {"training": {"schedule": {"name": "cosine", "warmup": 2}}},
            r"warmup must be within 0..1",
        ),
        (
            {"training": {"optimizer": {"name": "adamw", "lr": math.inf}}},
            "training.optimizer: optimizer 'adamw': lr must be finite, got inf",
        ),
        (
            {"training": {"optimizer": {"name": "sgd", "momentum": math.nan}}},
            "momentum must be finite, got nan",
        ),
        ({"training": {"activation_lr": math.inf}}, "training.activation_lr is inf: name a finite"),
        ({"training": {"loss": "focal"}}, "training.loss: unknown loss 'focal'; choose one of: b"),
        (
            {"training": {"loss": {"name": "bce", "smoothing": 1}}},
            "no parameter 'smoothing'; it takes: label_smoothing, positive_weight",
        ),
        ({"training": {"loss": {"name": "bce", "label_smoothing": 1}}}, "label_smoothing must be"),
        *(
            (
                {"training": {"loss": {"name": "bce", "positive_weight": value}}},
                "positive_weight must",
            )
            for value in (0, math.inf, math.nan)
        ),
        ({"data": {"augmentation": "mosaic9"}}, "data.augmentation: unknown augmentation 'mosai"),
        ({"data": {"split": "publishd"}}, "data.split: unknown split 'publishd'; choose one of"),
        ({"data": {"split": "region:dallas"}}, "data.split: unknown region 'dallas'; choose one"),
        ({"data": {"exclude_ground": [[3, 2, 1, 4]]}}, "data.exclude_ground: exclude_ground takes"),
        (
            {"training": {"transfer": "finetune"}},
            "finetune needs model.weights: name a bundle, or imagenet",
        ),
        ({"model": {"weights": "harvey"}}, "training.transfer is scratch: choose finetune"),
        ({"model": {"weights": "imagenet"}}, "no ImageNet weights for 'compact_resnet'"),
        ({"training": {"freeze_stages": 1}}, "freeze_stages is 1 but training.transfer is scratch"),
        (
            {
                "model": {
                    "architecture": {"name": "compact_resnet", "dropout": 0.2},
                    "weights": "harvey",
                },
                "training": {"transfer": "finetune", "freeze_stages": 9},
            },
            "freeze_stages is 9, the network has 4 stages: stem, stage1, stage2, stage3",
        ),
        (
            {
                "model": {"architecture": "all_cnn", "init": "autoinit"},
                "training": {"bn_momentum": "auto"},
            },
            "bn_momentum is for batch norms, of which the network has none",
        ),
    ],
)
def test_a_wrong_name_is_refused_before_any_data_is_read(changes, message, tmp_path):
    recipe = make_settings(Recipe, {"data": {"path": "nowhere"}} | changes)
    with pytest.raises(ConfigError, match=message):
        train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "training",
    [
        {"bn_momentum": 0.05},
        {"optimizer": {"name": "l_adam", "first_fraction": 0.5}},
        {"reinit": {"name": "layerwise", "rounds": 2}},
    ],
)
def test_what_asks_for_the_layers_of_a_network_goes_with_every_start(training):
    for init in ("he", "autoinit"):
        model = {"architecture": "wide_resnet", "init": init}
        check_recipe(make_settings(Recipe, {"model": model, "training": training}))


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out is a file: name a folder"):
        trained(tmp_path / "out")


def test_a_leaking_split_is_refused_unless_allowed_by_name(tmp_path):
    tiles = make_tiles()
    tiles.manifest.loc[64, ["sha256", "column", "row_px"]] = tiles.manifest.loc[
        0, ["sha256", "column", "row_px"]
    ].to_numpy()
    recipe = make_settings(Recipe, {"data": {"split": "published"}})
    with pytest.raises(LeakError, match="1 are byte copies"):
        train(recipe, tmp_path, tiles=tiles, progress=False)


def test_a_validation_part_of_one_class_is_refused_before_training(tmp_path):
    tiles = make_tiles()
    tiles.manifest.loc[64:87, "label"] = 1
    with pytest.raises(DataError, match="validation part of split 'published' lacks a class"):
        train(make_recipe(), tmp_path / "out", tiles=tiles, progress=False)


def test_missing_weights_are_refused(tmp_path):
    recipe = make_recipe(transfer="finetune")
    model = recipe.model.model_copy(update={"weights": "no-such-bundle"})
    with pytest.raises(BundleError, match="no model 'no-such-bundle'"):
        trained(tmp_path, recipe.model_copy(update={"model": model}))


def test_pixel_statistics_are_those_of_the_chosen_rows():
    pixels = make_tiles().pixels
    mean, std = pixel_statistics(pixels, np.arange(5, 40))
    chosen = pixels[5:40].reshape(-1, 3).astype(float)
    assert mean == pytest.approx(chosen.mean(0))
    assert std == pytest.approx(chosen.std(0))


def test_label_smoothing_and_positive_weight_are_those_of_the_formula():
    logits, labels = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    choice = Choice(name="bce", parameters={"label_smoothing": 0.2, "positive_weight": 3.0})
    p, smooth = logits.sigmoid(), torch.tensor([0.9, 0.1])
    expected = -(3 * smooth * p.log() + (1 - smooth) * (1 - p).log()).mean()
    network = build_network(ModelSettings(), pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1))
    outcome = Outcome(images=[], features=torch.empty(2, 0), logits=logits)
    assert build_loss(choice)(network)(outcome, labels) == pytest.approx(float(expected))


def test_a_loaded_bundle_is_in_evaluation_mode(bundle):
    assert not load_bundle(bundle.folder).network.training
