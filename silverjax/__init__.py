"""SilverJAX: retrieval with filters, int8 search and learned ranking as one JAX function.

Names are imported on first use, so that `import silverjax` stays light and touches no device.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pallas_kernels.report import backend_report as backend_report
    from silverjax.ann_search import Candidates as Candidates
    from silverjax.ann_search import search as search
    from silverjax.batch import Items as Items
    from silverjax.batch import Users as Users
    from silverjax.config import RetrieverConfig as RetrieverConfig
    from silverjax.filter_language import FilterError as FilterError
    from silverjax.filter_plan import FilterPlan as FilterPlan
    from silverjax.filter_plan import compile_filters as compile_filters
    from silverjax.index_builder import build_index as build_index
    from silverjax.index_config import IndexConfig as IndexConfig
    from silverjax.index_config import SearchConfig as SearchConfig
    from silverjax.item_index import ItemIndex as ItemIndex
    from silverjax.retriever import Answer as Answer
    from silverjax.retriever import Request as Request
    from silverjax.retriever import Retriever as Retriever
    from silverjax.snapshot import load_snapshot as load_snapshot
    from silverjax.snapshot import publish as publish
    from silverjax.value_model import ValueWeights as ValueWeights

__version__ = "0.1.0"

_HOME = {
    "backend_report": "pallas_kernels.report",
    "Candidates": "silverjax.ann_search",
    "search": "silverjax.ann_search",
    "Items": "silverjax.batch",
    "Users": "silverjax.batch",
    "RetrieverConfig": "silverjax.config",
    "FilterError": "silverjax.filter_language",
    "FilterPlan": "silverjax.filter_plan",
    "compile_filters": "silverjax.filter_plan",
    "build_index": "silverjax.index_builder",
    "IndexConfig": "silverjax.index_config",
    "SearchConfig": "silverjax.index_config",
    "ItemIndex": "silverjax.item_index",
    "Answer": "silverjax.retriever",
    "Request": "silverjax.retriever",
    "Retriever": "silverjax.retriever",
    "load_snapshot": "silverjax.snapshot",
    "publish": "silverjax.snapshot",
    "ValueWeights": "silverjax.value_model",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'silverjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
