"""Settings of a training run."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train. Which data and which model are separate arguments of `train`.

    Attributes:
        steps: Optimiser steps in all.
        refit: Share of them, the last ones, in which OverArch rests and the towers learn from all
            choices, those held out until then included, with a schedule of their own.
        batch: Windows of `history` interactions per step; each gives up to `history` examples.
        seed: Seeds the parameters, the order of the data, the negatives and the dropout.
        learning_rate: Peak, after the warm-up; it decays to zero along a cosine.
        warmup: Steps of linear warm-up.
        weight_decay: Decoupled decay of all matrices and tables (AdamW).
        clip: Largest norm of the gradient.
        ema: Decay of the running mean of the parameters that is used in place of the last ones;
            0 uses the last ones.
        warm_start: Size (root mean square) of the item id vectors that the SVD of the
            interactions gives to begin with; 0 begins with noise alone.
        in_batch: Negatives per step taken from the batch's own targets (so by popularity).
        uniform: Negatives per step drawn uniformly from the catalogue, without repetition.
        held_out: Share of each user's choices, the last ones, that only OverArch learns from, in
            [0, 1); 0 lets it learn from what the towers have learned.
        fit_choices: How many of them OverArch's linear head is fitted to at most when it comes to
            rest before the refit, drawn at random; 0 leaves the head as the steps made it.
        fit_ridge: What keeps the head near where it was: so many times the squared change of each
            weight, of signals scaled to variance 1, against the sum over the choices.
        positions: Positions per window that OverArch learns from; 0 trains the towers alone, on
            all choices.
        mined: Negatives per window found in the model's own index.
        over_arch_uniform: Uniform negatives per window for OverArch.
        refresh_every: Steps between two rebuilds of the index from the item tower.
        tower_weight: Weight of the towers' sampled softmax. The two below are small because Adam
            gives OverArch's own parameters the same steps whatever the weight, while the
            tables it shares with the towers are left to the towers.
        list_weight: Weight of OverArch's softmax over its candidates.
        task_weight: Weight of OverArch's cross entropy per task.
    """

    steps: int = 500
    refit: float = 0.2
    batch: int = 64
    seed: int = 0
    learning_rate: float = 5e-3
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.0
    warm_start: float = 0.5
    in_batch: int = 256
    uniform: int = 512
    held_out: float = 0.15
    fit_choices: int = 4_096
    fit_ridge: float = 10.0
    positions: int = 8
    mined: int = 32
    over_arch_uniform: int = 64
    refresh_every: int = 50
    tower_weight: float = 1.0
    list_weight: float = 0.1
    task_weight: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(
                f"held_out={self.held_out} must be at least 0 and below 1: it is the share of the "
                "choices that the towers do not see before the refit"
            )
        if self.fit_choices < 0:
            raise ValueError(f"fit_choices={self.fit_choices} must be at least 0; 0 fits nothing")
        if not 0 < self.fit_ridge < math.inf:
            raise ValueError(
                f"fit_ridge={self.fit_ridge} must be above 0 and finite, so that a signal which "
                "says nothing keeps its weight"
            )
        if not 0 <= self.refit < 1:
            raise ValueError(
                f"refit={self.refit} must be at least 0 and below 1: it is the share of the steps "
                "that comes after OverArch has learned"
            )

    @property
    def refit_from(self) -> int:
        """The step with which the refit begins; `steps` if there is none."""
        return self.steps - round(self.steps * self.refit)

    def for_refit(self) -> TrainConfig:
        """The settings of the last steps as those of a training of its own, of towers alone."""
        steps = self.steps - self.refit_from
        return dataclasses.replace(self, steps=steps, warmup=steps // 10, positions=0, refit=0.0)

    @property
    def kept_from_towers(self) -> float:
        """The share that is really held out: without an OverArch to learn from it, nothing."""
        return self.held_out if self.positions else 0.0
