"""`from_ray` against Ray Tune itself where it is installed, and against stand-ins everywhere.

Ray is large, so the stand-ins below let the reader be tested without it. Their class names and
attributes (`Domain.get_sampler`, `lower`, `upper`, `categories`, `mean`, `sd`, `q`) were checked
against ray 2.60.0; the parametrised fixture runs every test on the real library too if it can be
imported.
"""

import math

import numpy as np
import pytest

from jaxhpo.space import from_ray
from tests.space.readers.foreign_draws import draw, same_frequencies, same_law


class Uniform:
    pass


class LogUniform:
    pass


class Normal:
    def __init__(self, mean, sd):
        self.mean, self.sd = mean, sd


class Quantized:
    def __init__(self, sampler, q):
        self.sampler, self.q = sampler, q

    def get_sampler(self):
        return self.sampler


class Domain:
    sampler = Uniform()

    def get_sampler(self):
        return self.sampler


class Float(Domain):
    def __init__(self, lower, upper, sampler):
        self.lower, self.upper, self.sampler = lower, upper, sampler


class Integer(Float):
    pass


class Categorical(Domain):
    def __init__(self, categories):
        self.categories = list(categories)


class Function(Domain):
    def __init__(self, func):
        self.func = func


class StandIn:
    """The functions of `ray.tune`, without Ray."""

    uniform = staticmethod(lambda low, high: Float(low, high, Uniform()))
    quniform = staticmethod(lambda low, high, q: Float(low, high, Quantized(Uniform(), q)))
    loguniform = staticmethod(lambda low, high: Float(low, high, LogUniform()))
    qloguniform = staticmethod(lambda low, high, q: Float(low, high, Quantized(LogUniform(), q)))
    randint = staticmethod(lambda low, high: Integer(low, high, Uniform()))
    lograndint = staticmethod(lambda low, high: Integer(low, high, LogUniform()))
    qrandint = staticmethod(lambda low, high, q=1: Integer(low, high, Quantized(Uniform(), q)))
    qlograndint = staticmethod(lambda low, high, q: Integer(low, high, Quantized(LogUniform(), q)))
    randn = staticmethod(lambda mean=0.0, sd=1.0: Float(-math.inf, math.inf, Normal(mean, sd)))
    qrandn = staticmethod(
        lambda mean, sd, q: Float(-math.inf, math.inf, Quantized(Normal(mean, sd), q))
    )
    choice = staticmethod(Categorical)
    grid_search = staticmethod(lambda values: {"grid_search": values})
    sample_from = staticmethod(Function)


@pytest.fixture(params=["stand-in", "ray"])
def tune(request):
    if request.param == "stand-in":
        return StandIn
    return pytest.importorskip("ray.tune")


def values_of(space, name="x"):
    return {params[name] for params in draw(space)}


def test_supports_and_ends(tune):
    expected = {
        "quniform": (tune.quniform(0.0, 1.0, 0.25), {0.0, 0.25, 0.5, 0.75, 1.0}),
        "qloguniform": (tune.qloguniform(1.0, 4.0, 1.0), {1.0, 2.0, 3.0, 4.0}),
        "randint": (tune.randint(2, 5), {2, 3, 4}),
        "lograndint": (tune.lograndint(1, 4), {1, 2, 3}),
        "qrandint": (tune.qrandint(2, 10, 4), {4, 8}),
        "qrandint ends": (tune.qrandint(4, 12, 4), {4, 8, 12}),
        "qrandint q=1": (tune.qrandint(2, 5, 1), {2, 3, 4}),
        "qlograndint": (tune.qlograndint(4, 12, 4), {4, 8, 12}),
        "choice": (tune.choice([None, "a", 2, (1, 2)]), {None, "a", 2, (1, 2)}),
        "grid_search": (tune.grid_search([16, 32]), {16, 32}),
    }
    for name, (domain, values) in expected.items():
        found = values_of(from_ray({"x": domain}))
        assert found == values, name
        assert {type(v) for v in found} == {type(v) for v in values}, name


def test_scales(tune):
    space = from_ray({"u": tune.uniform(-1.0, 3.0), "v": tune.loguniform(1e-4, 1.0)})
    for unit, expected in ((0.0, (-1.0, 1e-4)), (0.5, (1.0, 1e-2)), (1.0, (3.0, 1.0))):
        params = space.decode(space.from_unit(np.full(2, unit)))
        assert tuple(params.values()) == pytest.approx(expected, rel=1e-5)


def test_normals(tune):
    params = draw(from_ray({"n": tune.randn(10.0, 2.0), "q": tune.qrandn(0.0, 1.0, 0.2)}))
    same_law([p["n"] for p in params], np.random.default_rng(0).normal(10.0, 2.0, 4000))
    steps = np.asarray([p["q"] for p in params]) / 0.2
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def test_structure_and_constants(tune):
    space = from_ray(
        {
            "lr": tune.loguniform(1e-4, 1e-1),
            "data": {"name": "digits", "sizes": [64, 32], "shuffle": None},
            "layers": [tune.randint(1, 3), "relu"],
            "model": tune.choice(
                [{"kind": "mlp", "width": tune.randint(8, 10)}, {"kind": "linear"}]
            ),
        }
    )
    for params in draw(space, 40):
        assert params["data"] == {"name": "digits", "sizes": [64, 32], "shuffle": None}
        assert params["layers"] in ((1, "relu"), (2, "relu"))
        assert params["model"] in (
            {"kind": "mlp", "width": 8}, {"kind": "mlp", "width": 9}, {"kind": "linear"},
        )  # fmt: skip
        assert space.decode(space.encode(params)) == params


def test_python_code_is_refused(tune):
    with pytest.raises(
        ValueError, match=r"from_ray: `param_space\['a'\]\['b'\]` must be free of Py"
    ):
        from_ray({"a": {"b": tune.sample_from(lambda config: 1)}})
    with pytest.raises(ValueError, match=r"instead of tune.sample_from, use a nested tune.choice"):
        from_ray({"a": {"eval": "spec.config.b"}})


def test_bad_input_is_named(tune):
    with pytest.raises(TypeError, match=r"from_ray: `param_space` must be a dict.*got None"):
        from_ray(None)
    with pytest.raises(
        ValueError, match=r"from_ray: `param_space` must be a dict with at least one"
    ):
        from_ray({})
    with pytest.raises(ValueError, match=r"`param_space\['x'\]` cannot be read: uniform: `low`"):
        from_ray({"x": tune.uniform(2.0, 1.0)})
    with pytest.raises(ValueError, match=r"`param_space\['x'\]` cannot be read: choice: `options`"):
        from_ray({"x": tune.choice([])})
    with pytest.raises(
        ValueError, match=r"`param_space\['x'\]` must be an interval that holds a m"
    ):
        from_ray({"x": tune.qrandint(5, 7, 4)})
    with pytest.raises(ValueError, match=r"`param_space\['x'\]` cannot be read: integer: `low`"):
        from_ray({"x": tune.randint(3, 3)})
    with pytest.raises(TypeError, match=r"`param_space\['x'\]` must be a domain made by ray.tune"):
        from_ray({"x": Domain()})


def test_draws_follow_ray():
    tune = pytest.importorskip("ray.tune")
    laws = {
        "a": tune.uniform(-1.0, 3.0),
        "b": tune.loguniform(1e-4, 1.0),
        "c": tune.randn(2.0, 3.0),
        "d": tune.randint(-2, 4),
        "e": tune.qrandint(0, 20, 5),
        "f": tune.choice(["x", None, 3]),
        "g": tune.qrandn(0.0, 1.0, 1.0),
        "h": tune.quniform(0.0, 2.0, 0.5),
        "i": tune.lograndint(1, 1000),
    }
    ours = draw(from_ray(laws))
    theirs = {k: law.sample(size=4000, random_state=9) for k, law in laws.items()}
    for name in "abc":
        same_law([p[name] for p in ours], theirs[name])
    for name in "def":
        values = [v.item() if isinstance(v, np.generic) else v for v in theirs[name]]
        same_frequencies([p[name] for p in ours], values)
    # Without -0.0, and without the rare tails that one sample may lack.
    quantized = [[p["g"] for p in ours], [v + 0.0 for v in theirs["g"]]]
    same_frequencies(*[[v for v in side if abs(v) <= 2] for side in quantized])
    same_frequencies([p["h"] for p in ours], theirs["h"], ignoring=(0.0, 2.0))
    assert {int(v) for v in theirs["i"]} <= set(range(1, 1000))
    # Small integers weigh more with us (see the docstring); far from 1 the laws agree.
    same_law(*[[v for v in side if v >= 20] for side in ([p["i"] for p in ours], theirs["i"])])


def test_ray_finds_our_configurations_valid():
    tune = pytest.importorskip("ray.tune")
    laws = {
        "a": tune.uniform(-1.0, 3.0),
        "b": tune.qloguniform(1.0, 100.0, 1.0),
        "c": tune.qrandint(3, 20, 5),
        "d": tune.choice(["x", None, 3]),
    }
    for params in draw(from_ray(laws), 200):
        assert all(laws[name].is_valid(value) for name, value in params.items())
