"""Layer-wise re-initialisation: what stays, what starts anew, rounds that are interrupted."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tiles import make_recipe, make_tiles

from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.errors import BundleError, ConfigError, EvaluationError
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings, Recipe, find_shipped, read_recipe
from damagenet.training.checks import check_recipe
from damagenet.training.data import open_training_data
from damagenet.training.head_restart import HeadRestart
from damagenet.training.lightning_module import DamageModule
from damagenet.training.rounds import restarted
from damagenet.training.start import start_network
from damagenet.training.train import train
from data_prep.datasets import tile_tensor
from models.factory import build_network, outline
from models.reinit import Layerwise, blocks, rescale, state_names
from models.stages import stages
from models.standardise import add_standardisation, entering_channels, measure, standardised

STAGES = ("stem", "stage1", "stage2", "stage3")


def recipe_of(rounds=3, *, activation="relu", epochs=1, **training):
    plan = {"name": "layerwise", "rounds": rounds, **training.pop("plan", {})}
    recipe = make_recipe(reinit=plan, epochs=epochs, **training)
    model = recipe.model.model_copy(update={"activation": Choice(name=activation)})
    return recipe.model_copy(update={"model": model})


def trained(out, recipe, **options):
    return train(recipe, out, tiles=make_tiles(), progress=False, **options)


def compact(seed=0, **model):
    torch.manual_seed(seed)
    model = {"architecture": {"name": "compact_resnet", "width": 8}, **model}
    return build_network(
        ModelSettings.model_validate(model), pixel_mean=(90, 90, 90), pixel_std=(40, 40, 40)
    )


def disturbed(network):
    """Return a network whose parameters and statistics all moved, as training does it."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not name.startswith("normalise."):
                value.add_(0.1 * torch.rand_like(value) + 0.1)
    return network


def cosine(one, other):
    return torch.nn.functional.cosine_similarity(
        one.flatten().double(), other.flatten().double(), dim=0
    ).item()


class PowerCutError(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training in three rounds of two epochs, as nobody interrupted it."""
    recipe = recipe_of(epochs=2, average_weights=0.9)
    return trained(tmp_path_factory.mktemp("rounds") / "out", recipe)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """What starts the third of four rounds: recipe, data, the state before, and the network."""
    recipe = recipe_of(4, activation="prelu")
    data = open_training_data(recipe, make_tiles())
    before = disturbed(start_network(recipe, data))
    add_standardisation(before, {"stage1": 8})
    state = {name: value.clone() for name, value in before.state_dict().items()}
    return recipe, data, state, restarted(recipe, data, Layerwise(rounds=4), 2, state)


def test_the_number_of_kept_blocks_grows_as_the_paper_says():
    assert [Layerwise(rounds=8).kept(g, 4) for g in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [Layerwise(rounds=1).kept(0, 4)] == [0]


@settings(max_examples=50, deadline=None)
@given(rounds=st.integers(1, 40), count=st.integers(1, 40))
def test_every_round_restarts_a_block_and_none_keeps_fewer_than_the_one_before(rounds, count):
    kept = [Layerwise(rounds=rounds).kept(number, count) for number in range(rounds)]
    assert kept[0] == 0
    assert kept == sorted(kept)
    assert kept[-1] < count


def test_kept_tensors_have_their_first_length_and_their_trained_direction(second):
    recipe, data, state, network = second
    first = dict(start_network(recipe, data).named_parameters())
    kept = [n for n, _ in network.named_parameters() if n.split(".")[1] in STAGES[:2]]
    assert any("stem.2." in name for name in kept)  # the activation's own
    for name, parameter in network.named_parameters():
        if name in kept:
            wanted = first[name].norm().item()
            assert parameter.norm().item() == pytest.approx(wanted, rel=1e-5, abs=1e-12)
            if wanted > 0:
                assert cosine(parameter, state[name]) == pytest.approx(1, abs=1e-6)
            else:
                assert not parameter.any()


def test_restarted_tensors_are_neither_the_trained_ones_nor_the_first(second):
    recipe, data, state, network = second
    first = start_network(recipe, data).state_dict()
    restarted_kernels = [
        name
        for name, parameter in network.named_parameters()
        if name.split(".")[1] not in STAGES[:2] and parameter.ndim > 1
    ]
    assert {name.split(".")[1] for name in restarted_kernels} == {"stage2", "stage3", "weight"}
    for name, value in network.state_dict().items():
        if name in restarted_kernels:
            assert not torch.equal(value, state[name])
            assert not torch.equal(value, first[name])
        elif name.startswith(("features.stage2.", "features.stage3.")) and "entering" not in name:
            # Norms, their statistics and the parameters of activations start where all do.
            assert torch.equal(value, first[name])


def test_what_enters_a_restarted_block_is_standardised_on_the_training_tiles(second):
    _, data, _, network = second
    assert standardised(network) == {"stage1": 8, "stage2": 8}
    images = tile_tensor(data.tiles, data.split.train)
    seen = {}
    for name in ("stage1", "stage2"):
        part = network.features.get_submodule(name)
        part.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0]}))
    with torch.no_grad():
        network.eval()(images)
    network.train()
    for entering in seen.values():
        channels = entering.double().transpose(0, 1).flatten(1)
        assert channels.mean(1).abs().max() < 1e-5
        assert (channels.std(1, correction=0) - 1).abs().max() < 1e-5
    assert len(seen) == 2


def test_without_rescaling_and_normalising_kept_tensors_stay_as_they_are(second):
    recipe, data, state, _ = second
    plan = Layerwise(rounds=4, rescale=False, normalise=False)
    network = restarted(recipe, data, plan, 2, state)
    assert standardised(network) == {}
    kept = state_names(network, stages(network)[:2])
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in kept)
    assert "features.stem.1.running_mean" in kept


def test_a_round_that_keeps_nothing_is_a_fresh_network(second):
    recipe, data, state, _ = second
    network = restarted(recipe, data, Layerwise(rounds=8), 1, state)
    assert standardised(network) == {}
    assert not torch.equal(network.head.weight, start_network(recipe, data).head.weight)


def test_standardisation_that_was_not_measured_changes_nothing_to_the_bit():
    plain, other = compact(), compact()
    add_standardisation(other, {"stage2": 8, "stage3": 16})
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    for precision in (torch.float32, torch.bfloat16):
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            assert torch.equal(plain.eval()(images), other.eval()(images))


def test_channels_that_do_not_vary_are_only_shifted():
    network = compact()
    add_standardisation(network, {"stage2": 8})
    with torch.no_grad():
        network.features.stage1.activation.function = torch.nn.Threshold(1e9, 3.0)
    measure(network, "stage2", lambda: [torch.rand(4, 3, 32, 32)])
    block = network.features.stage2
    assert torch.equal(block.entering_mean, torch.full((8,), 3.0))
    assert torch.equal(block.entering_std, torch.ones(8))


def test_a_tensor_that_became_zero_cannot_be_rescaled():
    network, start = compact(), compact(1)
    with torch.no_grad():
        network.features.stem[0].weight.zero_()
    with pytest.raises(EvaluationError, match=r"features\.stem\.0\.weight has become zero"):
        rescale(network, start, ["features.stem.0.weight"])


def test_blocks_begin_at_the_stages_that_are_named():
    network = outline(ModelSettings())
    assert [[s.name for s in part] for part in blocks(network, "auto")] == [[n] for n in STAGES]
    two = blocks(network, "stem, stage2")
    assert [[stage.name for stage in part] for part in two] == [
        ["stem", "stage1"],
        ["stage2", "stage3"],
    ]
    assert Layerwise(rounds=4).standardised(two, 3) == ["stage2"]


def test_one_round_equals_plain_training_to_the_bit(tmp_path):
    one = trained(tmp_path / "one", recipe_of(1))
    plain = trained(tmp_path / "plain", make_recipe(epochs=1))
    assert one.card.weights_sha256 == plain.card.weights_sha256
    assert one.card.standardised is None
    assert not (tmp_path / "one" / "rounds").exists()


def test_a_training_in_rounds_leaves_a_bundle_that_loads_and_predicts(whole):
    again = load_bundle(whole.folder)
    assert again.card.standardised == {"stage1": 8, "stage2": 8}
    assert again.network.features.stage2.entering_mean.any()
    images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    with torch.inference_mode():
        expected = whole.network(images).squeeze(1).numpy()
    found = Predictor(again, device="cpu").logits((images.numpy(),))
    assert found == pytest.approx(expected, abs=1e-3)
    rounds = whole.folder.parent / "rounds"
    assert sorted(str(p.relative_to(rounds)) for p in rounds.glob("*/*") if p.is_file()) == [
        "1/end.safetensors",
        "2/end.safetensors",
    ]
    assert not (rounds / "1" / "best.ckpt").exists()


def test_a_card_that_names_a_stage_the_network_lacks_is_refused(whole, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in whole.folder.iterdir():
        text = file.read_bytes().replace(b'"stage2": 8', b'"stage7": 8')
        (folder / file.name).write_bytes(text)
    with pytest.raises(BundleError, match="no stage 'stage7' to standardise; there are: stem, st"):
        load_bundle(folder)


def test_weights_of_a_training_in_rounds_can_be_finetuned_with_another_activation(whole, tmp_path):
    model = whole.card.model.model_copy(
        update={"weights": str(whole.folder), "activation": Choice(name="leaky_relu")}
    )
    recipe = make_recipe(epochs=1, transfer="finetune").model_copy(update={"model": model})
    tuned = trained(tmp_path, recipe)
    assert tuned.card.standardised == whole.card.standardised
    assert load_bundle(tuned.folder).card.standardised == {"stage1": 8, "stage2": 8}


@pytest.mark.parametrize("cut_at", ["epoch 2 of round 2", "end of round 1"])
def test_an_interrupted_training_in_rounds_continues_to_the_same_weights(
    whole, tmp_path, monkeypatch, cut_at
):
    recipe = whole.card.recipe
    started = []

    def cut(module):
        started.append(module)
        if len(started) == 4:
            raise PowerCutError

    def broken(*_):
        raise PowerCutError

    with monkeypatch.context() as patch:
        if cut_at == "epoch 2 of round 2":
            patch.setattr(DamageModule, "on_train_epoch_start", cut)
        else:
            patch.setattr("damagenet.training.rounds.save", broken)
        with pytest.raises(PowerCutError):
            trained(tmp_path, recipe)
    assert (tmp_path / "rounds" / "1" / "end.safetensors").exists() == ("end" not in cut_at)
    assert trained(tmp_path, recipe).card.weights_sha256 == whole.card.weights_sha256


def test_without_resume_every_round_starts_with_a_fresh_optimiser_and_schedule(
    tmp_path, monkeypatch
):
    seen = []

    def look(module):
        optimizer = module.trainer.optimizers[0]
        seen.append((len(optimizer.state), optimizer.param_groups[0]["lr"], module.settings.seed))

    old = tmp_path / "rounds" / "1" / "end.safetensors"
    old.parent.mkdir(parents=True)
    old.write_text("what another training left")
    (tmp_path / "recipe.json").write_text("{}")
    monkeypatch.setattr(DamageModule, "on_train_epoch_start", look)
    trained(tmp_path, recipe_of(2), resume=False)
    states, rates, seeds = zip(*seen, strict=True)
    assert states == (0, 0)
    assert len(set(rates)) == 1
    assert len(set(seeds)) == 2


def test_the_head_alone_starts_anew_also_after_an_interruption(tmp_path, monkeypatch):
    recipe = make_recipe(reinit={"name": "head", "every": 1}, epochs=2, select_on="loss")
    restart, heads = HeadRestart.on_train_epoch_start, []

    def watched(callback, trainer, module):
        before = {name: value.clone() for name, value in module.network.state_dict().items()}
        restart(callback, trainer, module)
        state = module.network.state_dict()
        known = sum(parameter in trainer.optimizers[0].state for parameter in module.parameters())
        heads.append(
            ({name for name in state if not torch.equal(state[name], before[name])}, known)
        )

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path / "cut", recipe)
    cut_one = trained(tmp_path / "cut", recipe)
    monkeypatch.setattr(HeadRestart, "on_train_epoch_start", watched)
    whole_one = trained(tmp_path / "whole", recipe)
    assert cut_one.card.weights_sha256 == whole_one.card.weights_sha256
    count = len(list(whole_one.network.parameters()))
    assert heads == [(set(), 0), ({"head.weight", "head.bias"}, count - 2)]


def test_the_shipped_recipe_shows_a_restart_of_the_head_that_can_be_trained():
    shipped = find_shipped(Path("layerwise_reinit"), studies=False)
    line = next(line for line in shipped.read_text().splitlines() if "# reinit:" in line)
    wanted = line.strip().removeprefix("# ").replace("reinit: ", "training.reinit=")
    recipe = read_recipe(shipped, overrides=[wanted])
    assert recipe.training.reinit.name == "head"
    check_recipe(recipe)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"reinit": "layerwize"}, r"unknown reinit 'layerwize' \(did you mean 'layerwise'\?\)"),
        ({"reinit": {"name": "layerwise", "rounds": 0}}, "rounds must be a whole number of 1 or"),
        ({"reinit": {"name": "layerwise", "rounds": 2.5}}, "rounds must be a whole number"),
        ({"reinit": {"name": "layerwise", "rescale": 1}}, "rescale must be true or false, got 1"),
        ({"reinit": {"name": "layerwise", "round": 2}}, "no parameter 'round'; it takes: rounds"),
        (
            {"reinit": {"name": "layerwise", "blocks": "stem,stage9"}},
            "blocks names 'stage9', the network has the stages stem, stage1, stage2, stage3",
        ),
        (
            {"reinit": {"name": "layerwise", "blocks": "stage1,stage2"}},
            "blocks must name stages in order, from stem on, so that they are the whole network",
        ),
        ({"reinit": {"name": "layerwise", "blocks": "stem,stage2,stage1"}}, "in order, from stem"),
        ({"reinit": {"name": "head", "every": 0}}, "every must be a whole number of 1 or above"),
        ({"reinit": {"name": "head", "every": 20}}, "within 20 epochs no head starts anew"),
        (
            {"reinit": {"name": "head", "every": 2}, "average_weights": 0.9},
            r"averaged with the heads before it, as training\.average_weights is 0\.9",
        ),
    ],
)
def test_wrong_restarts_are_refused_before_data_is_read(training, message):
    recipe = make_settings(Recipe, {"data": {"path": "nowhere"}, "training": training})
    with pytest.raises(ConfigError, match=r"training\.reinit: .*" + message):
        check_recipe(recipe)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"transfer": "finetune"}, "layerwise starts layers anew, but training.transfer is finet"),
        ({"transfer": "finetune", "freeze_stages": 1}, "layerwise starts layers anew"),
        ({"transfer": "linear_probe"}, "layerwise starts layers anew"),
        (
            {"transfer": "linear_probe", "reinit": {"name": "head", "every": 2}},
            "head starts anew what alone is trained, as training.transfer is linear_probe",
        ),
        (
            {"transfer": "linear_probe", "optimizer": "lbfgs"},
            "training.reinit is without effect where training.optimizer is 'lbfgs'",
        ),
    ],
)
def test_restarts_of_given_weights_are_refused(training, message):
    values = {
        "model": {"architecture": {"name": "compact_resnet", "dropout": 0.2}, "weights": "harvey"},
        "training": {"reinit": "layerwise", **training},
    }
    with pytest.raises(ConfigError, match=message):
        check_recipe(make_settings(Recipe, values))


def test_what_cannot_be_standardised_is_refused_unless_it_need_not_be():
    swin = {"model": {"architecture": "swin_t"}, "training": {"reinit": "layerwise"}}
    with pytest.raises(ConfigError, match=r"only channels .* can be standardised; set norm"):
        check_recipe(make_settings(Recipe, swin))
    swin["training"] = {"reinit": {"name": "layerwise", "normalise": False}}
    check_recipe(make_settings(Recipe, swin))


def test_features_and_maps_of_other_networks_can_be_standardised():
    cao = outline(ModelSettings(architecture=Choice(name="cao_choe")))
    names = [stage.name for stage in stages(cao)][1:]
    assert list(entering_channels(cao, names).values()) == [32, 64, 128, 4608]
    resnet = outline(ModelSettings(architecture=Choice(name="resnet18")))
    names = [stage.name for stage in stages(resnet)][1:]
    assert list(entering_channels(resnet, names).values()) == [64, 64, 128, 256]
