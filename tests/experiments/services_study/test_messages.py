"""Messages between the services hold what was put in."""

from __future__ import annotations

import hypothesis.extra.numpy as nps
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from experiments.services_study.messages import pack, unpack

ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.sampled_from(["<i4", ">f4", "<f8", "|b1", "|i1"]).flatmap(
        lambda dtype: nps.arrays(dtype, nps.array_shapes(min_dims=0, min_side=0))
    ),
    max_size=4,
)


@given(ARRAYS, st.lists(st.text(), max_size=3))
def test_unpack_gives_back_what_was_packed(arrays: dict, texts: list[str]) -> None:
    got, said = unpack(pack(arrays, texts))
    assert said == texts
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype.newbyteorder("<")
        assert got[name].shape == array.shape  # assert_array_equal would broadcast
        np.testing.assert_array_equal(got[name], array)


def test_arrays_lie_aligned_in_a_message() -> None:
    message = pack({"a": np.arange(3, dtype=np.int8), "b": np.arange(5.0)}, ["x"])
    start = np.frombuffer(message, np.uint8).ctypes.data
    for array in unpack(message)[0].values():
        assert (array.ctypes.data - start) % 64 == 0


def test_rejects_a_message_that_was_cut() -> None:
    message = pack({"a": np.arange(100)})
    with pytest.raises(ValueError, match="buffer"):
        unpack(message[:-80])
