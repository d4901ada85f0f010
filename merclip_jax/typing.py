"""Array annotations that state shapes: checked in the tests, free at run time.

With jaxtyping installed (the `test` extra) `Float[Array, "b t h w c"]` is its
annotation; without it the same expression is plain `jax.Array`, so that the model
and the training step import with jax, flax, optax and numpy alone.
"""

from typing import Any

import jax

Array = jax.Array
Dtype = Any  # whatever NumPy takes for a dtype, such as jnp.bfloat16
Leaf = Any  # an array of a tree, or what jax.tree.map puts in its place

# jaxtyping is for tests: users of the model must not need it.
try:
    from jaxtyping import Bool, Float, Int, Num, Shaped, UInt8
except ImportError:

    class _Plain:
        """Stands in for a jaxtyping dtype: `Float[Array, "..."]` is `Array`."""

        def __class_getitem__(cls, item):
            return item[0]

    Bool = Float = Int = Num = Shaped = UInt8 = _Plain

__all__ = ["Array", "Bool", "Dtype", "Float", "Int", "Leaf", "Num", "Shaped", "UInt8"]
