"""Data sets in one form: `load("movielens-100k")`, `load("synthetic")`, `load("a/folder")`."""

from __future__ import annotations

from training.datasets.dataset import Dataset as Dataset
from training.datasets.dataset import Interactions as Interactions
from training.datasets.errors import DataError as DataError
from training.datasets.registry import NAMES as NAMES
from training.datasets.registry import load as load
