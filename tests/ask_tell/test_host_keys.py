"""Keys that the host hashes are those of `jax.random`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.ask_tell._host_keys import folded, seed_key

SEEDS = [0, 1, -1, 2**31 + 5, 2**40 + 7, -(2**35)]


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_bits_are_those_of_jax(seed, impl):
    with jax.default_prng_impl(impl):
        integer = np.int64(seed).astype(jnp.result_type(int))
        key, data = jax.random.key(integer), seed_key(integer)
        np.testing.assert_array_equal(data, jax.random.key_data(key))
        for number in (0, 1, 199, 2**31 + 3, 2**32 - 1):
            expected = jax.random.key_data(jax.random.fold_in(key, np.uint32(number)))
            np.testing.assert_array_equal(folded(data, number), expected)
            assert folded(data, number).dtype == np.uint32


def test_no_program_is_compiled(caplog):
    with jax.log_compiles(), caplog.at_level("WARNING"):
        folded(seed_key(np.int32(3)), 7)
    assert not caplog.messages
