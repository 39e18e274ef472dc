"""What samplers say of themselves: names, settings, and what they can do."""

import pytest

import jaxhpo as hpo
from jaxhpo import samplers
from jaxhpo.samplers._description import describe
from jaxhpo.samplers._traits import REGISTRY, names_with, traits_of
from jaxhpo.study.storage._meta import SamplerDescription
from tests.registry import SAMPLERS

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})


def test_every_factory_is_in_the_registry():
    public = {name for name in samplers.__all__ if callable(getattr(samplers, name))}
    others = {"Choice", "choose", "get", "names", "mixture", "warm_start", "with_restarts"}
    assert public - others == set(REGISTRY) == set(samplers.names())
    for name, entry in REGISTRY.items():
        assert getattr(samplers, name) is entry.factory


@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: f"{case.name}-{case.variant}")
def test_what_a_sampler_can_do_is_what_the_conformance_suite_tries(case):
    if case.name in REGISTRY and case.name != "auto":
        traits = traits_of(case.name)
        assert traits.resumes_exactly == case.resumes_exactly
        assert traits.needs_gradients == case.needs_gradient
        assert traits.is_finite == (not case.is_endless)
        assert traits.several_objectives == (case.several is not None and bool(case.several))


def test_a_trait_lists_names():
    assert names_with("ignores_values") == ("grid", "qmc", "random")
    assert "auto" not in names_with("several_objectives")
    assert traits_of("somebody's") == traits_of(None)


@pytest.mark.parametrize("name", sorted(set(samplers.names()) - {"auto"}))
def test_a_ready_sampler_says_its_name_and_settings(name):
    settings = {"num_objectives": 2} if traits_of(name).several_only else {}
    text = describe(samplers.get(name, SPACE, batch_size=3, **settings))
    assert text.startswith(f"{name}(")
    assert "batch_size=3" in text


def test_settings_are_those_that_were_given():
    made = samplers.gp(SPACE, acquisition_function="ucb", beta=0.25, num_basins=0)
    words = ("acquisition_function=ucb", "beta=0.25", "num_basins=0", "kernel=matern52")
    assert all(word in describe(made) for word in words)
    inner = samplers.de(SPACE)
    assert describe(samplers.with_restarts(inner, SPACE, patience=7)) == (
        "with_restarts(sampler=de, patience=7)"
    )
    both = samplers.mixture([samplers.random(SPACE), samplers.pattern(SPACE)])
    assert describe(both) == "mixture(samplers=random+pattern)"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nsga_rounds(batch_size=1)", "nsga2(batch_size=1)"),
        ("nsga_rounds()", "nsga3(batch_size=4)"),
        ("restarts()", "with_restarts(sampler=de, patience=7)"),
        ("gp(belief=None, lattice=None)", "gp(batch_size=1, capacity=256)"),
    ],
)
def test_studies_of_older_names_go_on(old, new):
    assert SamplerDescription(old, None).is_same(SamplerDescription(new, None))
    assert SamplerDescription(new, None).is_same(SamplerDescription(old, None))
    assert not SamplerDescription(old, None).is_same(SamplerDescription("tpe()", None))
