"""Which methods go with which architecture: the matrix of their specification, as checked."""

import pytest

from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Recipe
from damagenet.training.checks import check_recipe
from models.compatibility import LARGEST_CAPSULE_SIGMA, check_compatible, refusal

MARGIN = {"training": {"loss": "margin"}}
ARCHITECTURES = {
    "wide_resnet": {"model": {"architecture": "wide_resnet"}},
    "resnet18": {"model": {"architecture": "resnet18"}},
    "all_cnn": {"model": {"architecture": "all_cnn"}},
    "cao_choe": {"model": {"architecture": "cao_choe"}},
    "sresnet": {"model": {"architecture": "sresnet"}},
    "mocapsnet": {"model": {"architecture": "mocapsnet"}, **MARGIN},
}
METHODS = {
    "stochastic_depth": {"model": {"regulariser": "stochastic_depth"}},
    "autoinit": {"model": {"init": "autoinit"}},
    "langevin": {"training": {"optimizer": {"name": "l_adam", "sigma": 1e-4}}},
    "layerwise_reinit": {"training": {"reinit": {"name": "layerwise", "rounds": 2}}},
    "margin": MARGIN,
}
# Section 11: WRN / ResNet, All-CNN, Cao CNN, S-ResNet, MoCapsNet.
GOES = {
    "stochastic_depth": {"wide_resnet", "resnet18"},
    "autoinit": {"wide_resnet", "resnet18", "all_cnn", "cao_choe"},
    "langevin": set(ARCHITECTURES),
    "layerwise_reinit": set(ARCHITECTURES) - {"mocapsnet"},
    "margin": {"mocapsnet"},
}


def merged(*groups: dict[str, dict[str, object]]) -> Recipe:
    values: dict[str, dict[str, object]] = {}
    for group in groups:
        for section, settings in group.items():
            values[section] = {**values.get(section, {}), **settings}
    return make_settings(Recipe, values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", METHODS)
def test_the_matrix_is_checked_when_a_recipe_is(method, architecture):
    recipe = merged(ARCHITECTURES[architecture], METHODS[method])
    if architecture in GOES[method]:
        check_recipe(recipe)
        return
    with pytest.raises(ConfigError, match=rf"does not go with '{architecture}': .{{10}}"):
        check_recipe(recipe)


@pytest.mark.parametrize("transfer", ["linear_probe", "finetune"])
@pytest.mark.parametrize("architecture", ["sresnet", "mocapsnet"])
def test_what_is_trained_from_nothing_is_neither_probed_nor_fine_tuned(architecture, transfer):
    given = {"training": {"transfer": transfer}, "model": {"weights": "harvey"}}
    recipe = merged(ARCHITECTURES[architecture], given)
    with pytest.raises(ConfigError, match=f"training.transfer is '{transfer}'.*choose scratch"):
        check_compatible(recipe)


def test_capsules_bear_little_noise_only():
    loud = {"name": "l_sgd", "sigma": 2 * LARGEST_CAPSULE_SIGMA}
    given = {"training": {"optimizer": loud, "loss": "margin"}}
    with pytest.raises(ConfigError, match=r"training\.optimizer\.sigma is 0\.002.*at most 0\.001"):
        check_compatible(merged(ARCHITECTURES["mocapsnet"], given))
    check_compatible(merged(ARCHITECTURES["wide_resnet"], {"training": {"optimizer": loud}}))


@pytest.mark.parametrize(
    ("family", "goes"),
    [("residual", True), ("plain", True), ("spiking", False), ("capsules", False)],
)
def test_guided_backpropagation_needs_slopes_of_rectifiers(family, goes):
    assert (refusal("guided_backprop", family) is None) == goes
