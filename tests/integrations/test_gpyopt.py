"""A class in the shape of GPyOpt's, fed with its domains, constraints and arrays."""

import numpy as np
import pytest

from jaxhpo.integrations.gpyopt import BayesianOptimization

LINE = [{"name": "x", "type": "continuous", "domain": (-1.0, 2.0)}]
MIXED = [
    {"name": "x", "type": "continuous", "domain": (-1, 1), "dimensionality": 2},
    {"name": "units", "type": "discrete", "domain": (16, 32, 64)},
    {"name": "kind", "type": "categorical", "domain": ("adam", "sgd")},
    {"name": "arm", "type": "bandit", "domain": [(0, 1), (1, 0), (2, 2)]},
]


def wavy(x):
    """GPyOpt's first example: smallest near 0.9595, value -6.0207."""
    assert x.shape == (1, 1)
    x = (x + 1.0) / 3.0
    return (6 * x - 2) ** 2 * np.sin(12 * x - 4)


@pytest.fixture(scope="module")
def search():
    search = BayesianOptimization(wavy, domain=LINE)
    search.run_optimization(max_iter=12)
    return search


def test_classical_program(search):
    assert search.X.shape == (17, 1), "five points of the design, then max_iter"
    assert search.Y.shape == (17, 1)
    # The Forrester function on [0, 1]: smallest at 0.757249, value -6.020740.
    assert search.fx_opt == pytest.approx(-6.02074, abs=0.02)
    assert search.x_opt == pytest.approx([3 * 0.757249 - 1], abs=0.05)
    assert search.fx_opt == wavy(search.x_opt[None]).item()


@pytest.mark.parametrize(
    "name", ["convergence", pytest.param("acquisition", marks=pytest.mark.slow)]
)
def test_plots(search, tmp_path, name):
    figure = getattr(search, f"plot_{name}")(str(tmp_path / "figure.png"))
    assert len(figure.axes) >= 2
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_mixed_domain_arrives_as_numbers():
    seen = []

    def f(x):
        seen.append(x[0])
        return float(np.sum(x[0, :2] ** 2) + x[0, 3])

    search = BayesianOptimization(f, MIXED, initial_design_numdata=12, initial_design_type="random")
    rows = np.asarray(seen)
    assert rows.shape == (12, 6)
    assert set(rows[:, 2]) <= {16.0, 32.0, 64.0}
    assert set(rows[:, 3]) <= {0.0, 1.0}
    assert {tuple(row) for row in rows[:, 4:]} <= {(0, 1), (1, 0), (2, 2)}
    np.testing.assert_array_equal(search.X, rows)
    best = search.best_params
    assert best["kind"] == ("adam", "sgd")[int(search.x_opt[3])]
    assert best["arm"] in [(0, 1), (1, 0), (2, 2)]


def test_constraints_and_maximize():
    box = [{"name": n, "type": "continuous", "domain": (0, 1)} for n in ("a", "b")]
    limit = [{"name": "sum", "constraint": "x[:, 0] + x[:, 1] - 1.0"}]
    search = BayesianOptimization(
        lambda x: x.sum(), box, limit, maximize=True, initial_design_numdata=20
    )
    assert (search.X.sum(axis=1) <= 1.0 + 1e-6).all()
    assert search.fx_opt == search.Y.max() > 0.7


def test_known_points_replace_the_design():
    X = np.asarray([[0.0], [1.0]])
    search = BayesianOptimization(wavy, LINE, X=X, Y=wavy(X[:1]) * np.ones((2, 1)))
    assert search.get_evaluations()[0].tolist() == X.tolist()
    assert BayesianOptimization(wavy, LINE, X=X).Y[1] == wavy(X[1:])[0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(bounds=[(0, 1)]), TypeError, "`domain` must be given in place of `bounds`"),
        (dict(domain=LINE, num_cores=4), TypeError, "there is no argument num_cores"),
        (dict(), TypeError, "`domain` must be a list of variables, got None"),
        (dict(domain=LINE, acquisition_type="EI_MCMC"), ValueError, "one of EI, MPI, LCB"),
        (dict(domain=LINE, model_type="GP_MCMC"), ValueError, "`model_type` must be one of GP"),
        (dict(domain=LINE, X=np.zeros((2, 3))), ValueError, "`X` must be of shape"),
        (dict(domain=LINE, X=np.zeros((2, 1)), Y=[1.0]), ValueError, "`Y` must be one value"),
        (dict(domain=LINE, constraints=["x"]), TypeError, "a dict whose 'constraint' is a text"),
        (
            dict(domain=LINE, constraints=[{"constraint": "y - 1"}]),
            ValueError,
            "an expression in x",
        ),
        (dict(domain=[{"type": "odd", "domain": (0, 1)}]), ValueError, "continuous, discrete"),
    ],
)
def test_bad_input(given, error, message):
    with pytest.raises(error, match=message):
        BayesianOptimization(wavy, **given)
