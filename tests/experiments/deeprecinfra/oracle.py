"""The eight models again, in float64 NumPy, table by table and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.deeprecinfra.model_config import ModelConfig


def oracle(config: ModelConfig, variables: Any, dense: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Probabilities [batch, tasks]."""
    params = _float64(variables["params"])
    found = _look_up(config, params["tables"]["rows"], ids)
    dense = dense.astype(np.float64)
    return _KINDS[config.kind](config, params, dense, found)


def _float64(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _float64(leaf) for name, leaf in tree.items()}
    return np.asarray(tree, np.float64)


def _look_up(config: ModelConfig, rows: np.ndarray, ids: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Vectors [batch, width] of each group: a list of tables, or of lookups where none pools."""
    found: dict[str, list[np.ndarray]] = {}
    column = start = 0
    for group in config.tables:
        found[group.name] = []
        for _ in range(group.count):
            table = rows[start : start + group.rows]
            bag = [table[ids[:, column + one]] for one in range(group.lookups)]
            found[group.name] += [np.sum(bag, 0)] if group.pooling == "sum" else bag
            column, start = column + group.lookups, start + group.rows
    assert column == ids.shape[1]
    assert start == len(rows)
    return found


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _dense(p: Any, x: np.ndarray) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def _relu_mlp(p: Any, x: np.ndarray) -> np.ndarray:
    for number in range(len(p)):
        x = np.maximum(_dense(p[f"layer{number}"], x), 0)
    return x


def _prelu_mlp(p: Any, x: np.ndarray) -> np.ndarray:
    for number in range(len(p) // 2):
        x = _dense(p[f"layer{number}"], x)
        x = np.where(x >= 0, x, x * p[f"slope{number}"]["negative_slope"])
    return x


def _ncf(config: ModelConfig, p: Any, dense: np.ndarray, found: Any) -> np.ndarray:
    product = found["user_mf"][0] * found["item_mf"][0]
    deep = _relu_mlp(p["bottom"], np.hstack([found["user_mlp"][0], found["item_mlp"][0]]))
    joined = np.hstack([product, deep])
    return _sigmoid(_dense(p["out"], _relu_mlp(p["top"], joined) if config.top else joined))


def _wide_and_deep(config: ModelConfig, p: Any, dense: np.ndarray, found: Any) -> np.ndarray:
    rows = [row for group in found.values() for row in group]
    x = np.hstack([dense, *[row[:, : config.dim] for row in rows]])
    x = _relu_mlp(p["top"], x) if config.top else x
    out = []
    for task in range(config.tasks):
        h = x
        for layer in range(len(config.task_top) + 1):
            h = h @ p["heads"][f"kernel{layer}"][task] + p["heads"][f"bias{layer}"][task]
            h = np.maximum(h, 0) if layer < len(config.task_top) else h
        wide = sum(row[:, config.dim + task] for row in rows)
        wide = wide + dense @ p["wide"]["kernel"][:, task] + p["wide"]["bias"][task]
        out.append(_sigmoid(h[:, 0] + wide))
    return np.stack(out, 1)


def _dlrm(config: ModelConfig, p: Any, dense: np.ndarray, found: Any) -> np.ndarray:
    bottom = _relu_mlp(p["bottom"], dense)
    if config.interaction == "concat":
        x = np.hstack([bottom, *found["sparse"]])
    else:
        rows = [bottom, *found["sparse"]]
        pairs = [(rows[i] * rows[j]).sum(-1) for i in range(len(rows)) for j in range(i)]
        x = np.hstack([bottom, np.stack(pairs, 1)])
    return _sigmoid(_dense(p["out"], _relu_mlp(p["top"], x)))


def _click(p: Any, parts: list[np.ndarray]) -> np.ndarray:
    logits = _dense(p["out"], _prelu_mlp(p["top"], np.hstack(parts)))
    return (np.exp(logits[:, 1]) / np.exp(logits).sum(-1))[:, None]


def _din(config: ModelConfig, p: Any, dense: np.ndarray, found: Any) -> np.ndarray:
    ad = found["ad"][0]
    interest = np.zeros_like(ad)
    for past in found["behaviour"]:
        hidden = _prelu_mlp(p.get("attention", {}), np.hstack([past, past * ad, ad]))
        interest += _dense(p["weight"], hidden) * past
    return _click(p, [found["profile"][0], interest, ad, found["context"][0]])


def _gru(p: Any, inputs: list[np.ndarray], attention: np.ndarray | None) -> list[np.ndarray]:
    width = len(p["recurrent"])
    w_u, w_r, w_c = np.hsplit(p["input"]["kernel"], 3)
    b_u, b_r, b_c = np.split(p["input"]["bias"], 3)
    u_u, u_r, u_c = np.hsplit(p["recurrent"], 3)
    h, states = np.zeros((len(inputs[0]), width)), []
    for step, x in enumerate(inputs):
        u = _sigmoid(x @ w_u + h @ u_u + b_u)
        if attention is not None:
            u = u * attention[:, [step]]
        r = _sigmoid(x @ w_r + h @ u_r + b_r)
        h = (1 - u) * h + u * np.tanh(x @ w_c + r * (h @ u_c) + b_c)
        states.append(h)
    return states


def _dien(config: ModelConfig, p: Any, dense: np.ndarray, found: Any) -> np.ndarray:
    ad = found["ad"][0]
    states = _gru(p["extractor"], found["behaviour"], None)
    logits = np.stack([(h * (ad @ p["attention"]["kernel"])).sum(-1) for h in states], 1)
    attention = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    interest = _gru(p["evolution"], states, attention)[-1]
    return _click(p, [found["profile"][0], interest, ad, found["context"][0]])


_KINDS = {
    "ncf": _ncf,
    "wide_and_deep": _wide_and_deep,
    "dlrm": _dlrm,
    "din": _din,
    "dien": _dien,
}
