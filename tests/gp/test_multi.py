"""Four objectives and more: each proposal improves a scalarisation of its own."""

import functools

import jax.numpy as jnp
import numpy as np

import jaxhpo as hpo
from jaxhpo import pareto

CORNERS = ((0.2, 0.2, 0.2), (0.8, 0.3, 0.2), (0.3, 0.8, 0.3), (0.4, 0.3, 0.8))
"""What the objectives ask for; between them, in a tetrahedron of 3 % of the cube, is the front."""

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(3,))})


def objective(key, params):
    corners = jnp.asarray(CORNERS, params["x"].dtype)
    return jnp.sum((params["x"][None, :] - corners) ** 2, axis=1)


@functools.cache
def found():
    sampler = hpo.samplers.gp_multi(SPACE, num_objectives=4, num_candidates=64, num_lanes=3)
    return hpo.minimize(objective, SPACE, sampler, key=0, num_trials=40)


def test_later_proposals_lie_on_the_front():
    x = np.asarray(found().trials.params["x"], np.float64)[20:]
    edges = np.asarray(CORNERS[1:]) - np.asarray(CORNERS[0])
    inner = np.linalg.solve(edges.T, (x - np.asarray(CORNERS[0])).T).T
    weights = np.concatenate([1 - inner.sum(axis=1, keepdims=True), inner], axis=1)
    assert np.mean((weights > -0.05).all(axis=1)) > 0.7  # a random point is with 5 %


def test_more_volume_than_twice_as_many_random_trials():
    corner = jnp.full(4, 0.8, jnp.result_type(float))
    random = hpo.minimize(objective, SPACE, "random", key=0, num_trials=80)
    volumes = [float(pareto.hypervolume(r.trials.value, corner)) for r in (found(), random)]
    assert volumes[0] > volumes[1], volumes
