"""Four objectives and more: each proposal improves a scalarisation of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxhpo as hpo
from jaxhpo import pareto

CORNERS = ((0.2, 0.2, 0.2), (0.8, 0.3, 0.2), (0.3, 0.8, 0.3), (0.4, 0.3, 0.8))
"""What the objectives ask of the first three coordinates; of three others all ask for one half. The
front is the tetrahedron between them, 3 % of the cube of the first three."""

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(6,))})


def objective(key, params):
    corners = jnp.asarray(CORNERS, params["x"].dtype)
    wanted = jnp.concatenate([corners, jnp.full_like(corners, 0.5)], axis=1)
    return jnp.sum((params["x"][None, :] - wanted) ** 2, axis=1)


@functools.cache
def found():
    sampler = hpo.samplers.gp_multi(SPACE, num_objectives=4, num_candidates=64, num_lanes=3)
    return hpo.minimize(objective, SPACE, sampler, key=0, num_trials=40)


def test_later_proposals_lie_near_the_front():
    x = np.asarray(found().trials.params["x"], np.float64)[20:]
    edges = np.asarray(CORNERS[1:]) - np.asarray(CORNERS[0])
    inner = np.linalg.solve(edges.T, (x[:, :3] - np.asarray(CORNERS[0])).T).T
    weights = np.concatenate([1 - inner.sum(axis=1, keepdims=True), inner], axis=1)
    assert np.mean((weights > -0.1).all(axis=1)) > 0.5  # a random point is with 6 %
    assert np.median(np.abs(x[:, 3:] - 0.5)) < 0.15  # of random points it is 0.25


def test_more_volume_than_random_trials():
    """At equal trials; over 16 other keys the least of ours was above the largest of random's."""
    corner = jnp.full(4, 0.8, jnp.result_type(float))
    random = hpo.minimize(objective, SPACE, "random", key=0, num_trials=40)
    volumes = [float(pareto.hypervolume(r.trials.value, corner)) for r in (found(), random)]
    assert volumes[0] > volumes[1], volumes


def two(params):
    return np.asarray([(params["x"] - 0.2) ** 2, (params["x"] - 0.8) ** 2])


def proposed_after(se, num_objectives=2):
    """The next proposals after eight points, the fourth of which has a wrong first value."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    sampler = hpo.samplers.gp_multi(
        space, num_objectives=num_objectives, num_candidates=32, num_lanes=3
    )
    unit = jnp.linspace(0.06, 0.94, 8, dtype=jnp.result_type(float))[:, None]
    value = jnp.asarray([two({"x": float(x)}) for x in unit[:, 0]], unit.dtype)
    value = value.at[3, 0].add(1.0)[:, :num_objectives]
    key, tell = jax.random.key(0), jax.jit(sampler.tell)
    state, _ = tell(key, sampler.init(key), unit, hpo.Outcome(value, se=se))
    state, proposal = jax.jit(sampler.ask)(key, state)
    # Models are fitted when a point is asked; a tell of nothing reports them.
    nothing = jnp.full_like(unit, jnp.nan)
    _, info = tell(key, state, nothing, hpo.Outcome(jnp.full_like(value, jnp.nan), se=se))
    return np.asarray(state.rows.se[:8]), np.asarray(info.lengthscale), np.asarray(proposal)


def test_each_objective_has_the_error_it_was_told():
    """What is known of one objective's noise leaves the model of the other alone."""
    known = jnp.full((8, 2), jnp.nan).at[3, 0].set(1.0)
    rows, told, proposal = proposed_after(known)
    assert rows[3, 0] == 1.0
    assert rows.sum() == 1.0
    _, silent, other = proposed_after(None)
    assert told[0, 0] > 1.5 * silent[0, 0], "a wrong value taken for true makes a model rough"
    np.testing.assert_allclose(told[1], silent[1], rtol=1e-3)
    assert not np.array_equal(proposal, other)


def test_a_vector_of_errors_is_one_of_the_only_objective():
    known = jnp.full(8, jnp.nan).at[3].set(1.0)
    as_matrix, silent = proposed_after(known[:, None], 1), proposed_after(None, 1)
    for one, other in zip(as_matrix, silent, strict=True):
        assert not np.array_equal(one, other)
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    sampler, key = hpo.samplers.gp_multi(space, num_objectives=1), jax.random.key(0)
    state, _ = sampler.tell(
        key, sampler.init(key), [[0.25], [0.5]], hpo.Outcome([1.0, 2.0], se=[np.nan, 0.5])
    )
    np.testing.assert_array_equal(state.rows.se[:2], [[0.0], [0.5]])


def test_a_study_passes_the_errors_of_several_objectives_on(tmp_path):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})

    def run(se, *parts, **settings):
        for count in parts:
            sampler = hpo.samplers.gp_multi(space, num_candidates=32, num_lanes=3)
            study = hpo.Study(space, sampler, direction=["minimize"] * 2, seed=0, **settings)
            study.optimize(
                lambda params: hpo.Outcome(tuple(two(params)), se=se),
                num_trials=count,
                progress=False,
            )
        return [trial.params["x"] for trial in study.trials]

    whole = run((0.3, 0.0), 8)
    assert whole != run(None, 8)
    assert whole == run((0.3, 0.0), 6, 2, storage=f"sqlite:///{tmp_path}/s.db", name="s")
