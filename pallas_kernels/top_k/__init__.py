"""The largest values of each row, as `jax.lax.top_k` gives them."""
