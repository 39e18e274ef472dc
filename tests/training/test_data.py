"""Data as people have them: tensors, frames, split over a mesh, or piece by piece."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from tests.training.training_problems import FLOAT

X = np.linspace(-1, 1, 8).astype(FLOAT)[:, None]


def build(data, batch_size=None):
    return hpo.training.from_optax(
        lambda key, h: jnp.zeros(1, FLOAT),
        lambda h, w, batch: jnp.mean((batch @ w - 3 * batch[:, 0]) ** 2),
        lambda h: optax.sgd(h["lr"]),
        train=data,
        validation=data,
        batch_size=batch_size,
    )


def value(training):
    return float(
        hpo.training.objective(training, 3)(jax.random.key(0), {"lr": jnp.asarray(0.1, FLOAT)})
    )


def frame():
    return pytest.importorskip("pandas").DataFrame({"a": X[:, 0]})


def tensor():
    return pytest.importorskip("torch").tensor(X, requires_grad=True)


@pytest.mark.parametrize("make", [frame, tensor])
def test_frames_and_tensors_are_arrays(make):
    assert value(build(make(), 4)) == value(build(X, 4))


def test_bfloat16_tensors():
    torch = pytest.importorskip("torch")
    training = build(torch.ones((4, 1), dtype=torch.bfloat16).float())
    assert np.isfinite(value(training))
    out = hpo.training._data.as_examples("f", "x", torch.ones((4, 1), dtype=torch.bfloat16))[0]
    assert out.dtype == jnp.float32


def loader():
    data = pytest.importorskip("torch.utils.data")
    return data.DataLoader(list(X), batch_size=2)


@pytest.mark.parametrize(
    "make", [lambda: iter(X), lambda: (x for x in X), lambda: range(3), loader]
)
def test_pieces_are_refused_with_advice(make):
    with pytest.raises(
        TypeError, match="`train` must be a numeric array, got .*collect them first"
    ):
        build(make())


@pytest.mark.parametrize("adapter", ["from_linen", "from_nnx"])
def test_pairs_in_pieces_are_refused_with_advice(adapter):
    make = getattr(hpo.training, adapter)
    with pytest.raises(TypeError, match="a pair .*collect them first"):
        make(lambda h, rngs=None: 0, lambda *a: 0, optax.sgd(0.1), train=iter(X), validation=(X, X))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "no masked numbers"),
        ([1.0, 2.0], r"`train\[0\]` must be a numeric array, got float. Lists are read"),
        (np.asarray(["a", "b"]), "ndarray of dtype <U1. Encode text"),
        (np.asarray([1, "b"], object), "ndarray of dtype object. Encode text"),
    ],
)
def test_what_is_no_number_is_refused(data, words):
    with pytest.raises(TypeError, match=words):
        build(data)


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit])
def mesh(request):
    if jax.device_count() < 2:
        pytest.skip("needs two devices")
    return jax.make_mesh((2,), ("d",), axis_types=(request.param,))


@pytest.mark.parametrize("batch_size", [None, 4])
def test_data_and_keys_over_a_mesh(mesh, batch_size):
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("d",), ()))
    training, plain = build(jax.device_put(X, split), batch_size), build(X, batch_size)
    key, h = jax.random.key(0), {"lr": jnp.asarray(0.1, FLOAT)}
    lr = np.asarray([0.1, 0.2], FLOAT)
    expected = hpo.population.sweep(plain, {"lr": lr}, key=0, num_steps=3).losses
    got = hpo.population.sweep(
        training, {"lr": jax.device_put(lr, split)}, key=jax.device_put(key, whole), num_steps=3
    )
    np.testing.assert_allclose(got.losses, expected, rtol=1e-5)
    if batch_size is None and AxisType.Explicit in mesh.axis_types:
        return  # Sums over an explicit axis must be written out in the loss, says JAX.
    key, h = jax.device_put((key, h), whole)
    np.testing.assert_allclose(hpo.training.objective(training, 3)(key, h), value(plain), rtol=1e-5)
    out = jax.jit(hg.unrolled(training, num_steps=3))(key, h)
    exact = hg.unrolled(plain, num_steps=3)(jax.random.key(0), {"lr": jnp.asarray(0.1, FLOAT)})
    np.testing.assert_allclose(out.grad["lr"], exact.grad["lr"], rtol=1e-4)


ESTIMATORS = {
    "unrolled": lambda t: hg.unrolled(t, num_steps=3),
    "binomial": lambda t: hg.unrolled(t, num_steps=3, checkpoint="binomial"),
    "forward": lambda t: hg.forward(t, num_steps=3),
    "truncated": lambda t: hg.truncated(t, num_steps=4, window=2),
    "finite_difference": lambda t: hg.finite_difference(t, num_steps=3),
}


def over_devices(fun, *args, checks=True):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    axis = PartitionSpec("d")
    one = lambda *a: jax.tree.map(  # noqa: E731
        lambda leaf: jnp.asarray(leaf)[None], fun(*jax.tree.map(lambda leaf: leaf[0], a))
    )
    mapped = jax.shard_map(one, mesh=mesh, in_specs=axis, out_specs=axis, check_vma=checks)
    return jax.jit(mapped)(*args)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_shard_map_around_hypergradients(name, checks):
    estimator = ESTIMATORS[name](build(X, 4))
    keys, lr = jax.random.split(jax.random.key(0), 2), jnp.asarray([0.1, 0.2], FLOAT)
    got = over_devices(lambda k, r: estimator(k, {"lr": r}).grad["lr"], keys, lr, checks=checks)
    expected = [estimator(k, {"lr": r}).grad["lr"] for k, r in zip(keys, lr, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
def test_shard_map_with_data_of_each_device():
    """The key and the hyperparameters are the same everywhere; only the data vary."""
    data = jnp.stack([X, 2 * X])

    def grad(part):
        return hg.unrolled(build(part), num_steps=3)(
            jax.random.key(0), {"lr": jnp.asarray(0.1, FLOAT)}
        ).grad["lr"]

    np.testing.assert_allclose(over_devices(grad, data), [grad(p) for p in data], rtol=1e-4)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("sampler", ["random", "gp", "tpe"])
def test_shard_map_around_minimize(sampler):
    space = hpo.Space({"lr": hpo.uniform(0.0, 0.5)})
    objective = hpo.training.objective(build(X, 4), 3)

    def best(key):
        return hpo.minimize(objective, space, sampler, key=key, num_trials=6).best_value

    keys = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_allclose(over_devices(best, keys), [best(k) for k in keys], rtol=1e-3)
