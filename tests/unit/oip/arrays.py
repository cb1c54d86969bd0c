"""Arrays of every datatype, as hypothesis draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tenantry_core.values import DATATYPES, AnyArray
from tenantry_core.wire import Tensor


@st.composite
def tensors(draw: st.DrawFn, *, finite: bool = False) -> tuple[Tensor, AnyArray]:
    """A tensor that a model could have, with a free first dimension, and values for it."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    name = draw(st.text(min_size=1, max_size=8))
    elements: st.SearchStrategy[Any] = (
        st.text(max_size=6)
        if datatype == "BYTES"
        else hnp.from_dtype(DATATYPES[datatype], allow_nan=not finite, allow_infinity=not finite)
    )
    return Tensor(name, datatype, (-1, *shape[1:])), draw(
        hnp.arrays(DATATYPES[datatype], shape, elements=elements)
    )


def many(*, finite: bool = False) -> st.SearchStrategy[list[tuple[Tensor, AnyArray]]]:
    """One to four of them, each of another name."""
    return st.lists(tensors(finite=finite), min_size=1, max_size=4, unique_by=lambda pair: pair[0].name)


def assert_same(read: AnyArray, sent: AnyArray) -> None:
    assert read.dtype == sent.dtype
    assert read.flags.aligned
    np.testing.assert_array_equal(read, sent)
