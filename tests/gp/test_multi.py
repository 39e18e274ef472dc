"""Four objectives and more: each proposal improves a scalarisation of its own."""

import functools

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
