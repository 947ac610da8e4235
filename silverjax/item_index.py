"""The item index: one pytree of fixed-capacity arrays, and nothing beside it.

Every cluster has the same number of slots, so a probe is one contiguous slice and a new index
of the same capacity has the same shapes. There is no host-side state to go stale: even the
vocabulary of the filters is an array (of 128-bit digests), so an index may pass through `jit`,
a checkpoint or a wire and still be whole.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int8, UInt32

from silverjax.engagement import Engagement

LIVE_ROW = 0  # the first bit row marks the slots that hold an item


@flax.struct.dataclass
class ItemCache:
    """What the model computed of each item at index build (SilverTorch's embedding cache).

    Attributes:
        embeddings: Item-tower outputs, by catalogue row.
        inputs: Item-side inputs of the OverArch, part by part, by catalogue row; `None` outside a
            model.
        engagement: What users did with the items of late; `None` outside a model.
    """

    embeddings: Float[Array, "capacity dim"]
    inputs: dict[str, Float[Array, "capacity _"]] | None = None
    engagement: Engagement | None = None


@flax.struct.dataclass
class ItemIndex:
    """Clustered int8 codes, bit-sliced eligibility words and exact term lists.

    Notation: C clusters of S slots; W = ceil(S / 32) words; D = dimensions padded to 16;
    slot = cluster * S + position. Bit `s % 32` of `words[r, c, s // 32]` belongs to
    position `s` of cluster `c`. Rows of bits: 0 live slots, then one row for each of the
    `columns` most frequent terms (exact), then the Bloom signature of all other terms
    (SilverTorch, arXiv 2511.14881, section on the Bloom index: stored transposed).

    Attributes:
        centroids: int8 codes of the means of the clusters.
        centroid_scales: One scale per centroid.
        live_items: Number of items that a search can return.
        radii: Root mean squared distance of a cluster's items from its centroid.
        profile: Share of each dimension in those squares, over all clusters.
        codes: int8 codes; item = code * scale.
        scales: One scale per item; 0 in free slots.
        rows: Catalogue row of each slot, -1 where free.
        slots: Slot of each catalogue row, -1 where there is none.
        words: Eligibility bits.
        terms: Term ids of all items in the order of their slots, ascending within an item.
        spans: Start and length of each slot's run in `terms`.
        vocabulary: Sorted 128-bit digests of the terms; the term id is the position.
        column_of_term: Bit row of a frequent term, 0 for terms in the Bloom signature.
        vocabulary_size: Entries of `vocabulary` in use.
        cache: Float embeddings and OverArch inputs, if kept.
        features: Names of the filter features.
        dim: Width of the embeddings before padding.
        columns: Bit rows given to frequent terms.
        hashes: Bloom rows per term.
    """

    centroids: Int8[Array, "C D"]
    centroid_scales: Float[Array, "C"]
    live_items: Int[Array, ""]
    radii: Float[Array, "C"]
    profile: Float[Array, "D"]
    codes: Int8[Array, "C S D"]
    scales: Float[Array, "C S"]
    rows: Int[Array, "C S"]
    slots: Int[Array, "capacity"]
    words: UInt32[Array, "R C W"]
    terms: Int[Array, "T"]
    spans: Int[Array, "C S 2"]
    vocabulary: UInt32[Array, "V 4"]
    column_of_term: Int[Array, "V"]
    vocabulary_size: Int[Array, ""]
    cache: ItemCache | None = None
    features: tuple[str, ...] = flax.struct.field(pytree_node=False, default=())
    dim: int = flax.struct.field(pytree_node=False, default=0)
    columns: int = flax.struct.field(pytree_node=False, default=0)
    hashes: int = flax.struct.field(pytree_node=False, default=1)

    @property
    def clusters(self) -> int:
        return int(self.codes.shape[0])

    @property
    def slots_per_cluster(self) -> int:
        return int(self.codes.shape[1])

    @property
    def capacity(self) -> int:
        """Catalogue rows there is room for."""
        return int(self.slots.shape[0])

    @property
    def bloom_bits(self) -> int:
        return int(self.words.shape[0]) - 1 - self.columns

    def along(self, queries: Float[Array, "batch D"]) -> Float[Array, "batch"]:
        """Standard deviation of the scores of a cluster's items, per unit of its radius.

        Clusters are taken to differ in size, not in shape: the variance of inner products with q is
        that of `radii` along the dimensions in which q is large.
        """
        return jnp.sqrt(jnp.sum(jnp.square(queries) * self.profile, axis=1))

    def padding(self) -> float:
        """Share of slots that hold no item."""
        return 1.0 - int(self.live_items) / (self.clusters * self.slots_per_cluster)

    def nbytes(self) -> dict[str, int]:
        """Bytes of every array, by name."""
        sizes = {}
        for path, leaf in jax.tree_util.tree_flatten_with_path(self)[0]:
            sizes[jax.tree_util.keystr(path).lstrip(".")] = int(leaf.nbytes)
        return sizes
