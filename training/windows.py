"""Each user's interactions cut into windows of fixed length, vectorised."""

from __future__ import annotations

import numpy as np


class Windows:
    """Windows of at most `length` consecutive targets with what preceded each of them.

    Attributes:
        users: int32 [n], the user of each interaction, sorted by user, then time.
    """

    def __init__(self, user, item, labels, *, length: int, stride: int) -> None:
        order = np.argsort(user, kind="stable")
        self.user, self.item, self.labels = user[order], item[order], labels[order]
        self.length, self.stride = length, stride
        starts = np.flatnonzero(np.append(True, self.user[1:] != self.user[:-1]))
        self.starts, self.ends = starts, np.append(starts[1:], len(self.user))

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Ends (exclusive) of the windows of one pass: [n, 3] start of user, end, first target."""
        out = []
        phase = rng.integers(0, self.stride, len(self.starts))
        for s, e, f in zip(self.starts, self.ends, phase):
            end = e
            ends = np.arange(e - f if e - f > s else e, s, -self.stride)
            if f and e - f > s:
                ends = np.append(e, ends)
            out.append(np.stack([np.full(len(ends), s), ends, np.append(ends[1:], s)], 1))
        out = np.concatenate(out)
        return out[rng.permutation(len(out))]

    def take(self, windows: np.ndarray):
        h = self.length
        s, e, f = (windows[:, i : i + 1] for i in range(3))
        at = e - h + np.arange(h)[None]  # position of target j
        t_ok = (at >= s) & (at >= f)
        targets = np.where(t_ok, self.item[np.maximum(at, 0)], -1).astype(np.int32)
        labels = np.where(t_ok[..., None], self.labels[np.maximum(at, 0)], 0).astype(np.float32)
        prev = at - 1
        h_ok = prev >= s
        hist = np.where(h_ok, self.item[np.maximum(prev, 0)], -1).astype(np.int32)
        hl = np.where(h_ok[..., None], self.labels[np.maximum(prev, 0)], 0).astype(np.float32)
        return self.user[windows[:, 0]].astype(np.int32), hist, hl, targets, labels
