"""Budgets: the study's unit turned into whole training steps. Imports no torch.

`until` is nominal: training stops after the last whole step that ends at or before it. So advance(a), advance(b) takes the
same steps as advance(b), and a config with large steps never gets more than its share.
"""

from dataclasses import dataclass

UNITS = ("tokens", "steps", "epochs", "flops")


@dataclass(frozen=True)
class Budget:
    """The sizes that turn units into steps: tokens per step, tokens per epoch, FLOPs per token.

    `horizon` is the study's, in `unit`. If `epochs` is given (a hyperparameter of fine-tuning), it sets the length of training
    in the place of the horizon: training ends there, even if the study would pay for more.
    """

    unit: str
    horizon: int
    step_tokens: int
    epoch_tokens: int
    flops_per_token: int
    epochs: float | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit is {self.unit!r}, but must be one of {', '.join(UNITS)}")
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}, but must be at least 1 ({self.unit})")

    def check(self, until: int, steps: int, tokens: int) -> None:
        """ValueError unless `until` lies between the position (steps, tokens) and the horizon."""
        if until > self.horizon:
            raise ValueError(f"until is {until}, but must be at most the horizon, {self.horizon} {self.unit}")
        behind = until < steps if self.unit == "steps" else self._tokens(until) < tokens
        if behind:
            raise ValueError(f"until is {until} {self.unit}, but the run has already trained {tokens} tokens")

    def _tokens(self, amount: int) -> int:
        """An amount of the unit in tokens at this step size."""
        size = {"tokens": 1, "steps": self.step_tokens, "epochs": self.epoch_tokens}
        return amount // self.flops_per_token if self.unit == "flops" else amount * size[self.unit]

    @property
    def _length(self) -> int | None:
        """Tokens after which `epochs` ends the training; None without `epochs`."""
        return None if self.epochs is None else round(self.epochs * self.epoch_tokens)

    def steps_left(self, until: int, steps: int, tokens: int) -> int:
        """Whole steps from the position (steps, tokens) to `until`, at least 0."""
        left = until - steps if self.unit == "steps" else (self._tokens(until) - tokens) // self.step_tokens
        if self._length is not None:
            left = min(left, (self._length - tokens) // self.step_tokens)
        return max(0, left)

    @property
    def total_steps(self) -> int:
        """The length of the schedule in steps (at least 1): it follows from the horizon or from `epochs`, never from `until`."""
        return max(1, (self._tokens(self.horizon) if self._length is None else self._length) // self.step_tokens)

    def schedule_step(self, steps: int, tokens: int) -> int:
        """The step of the schedule at a position. A clone with another batch size goes on at the same share of the schedule."""
        by_steps = self.unit == "steps" and self.epochs is None
        return steps if by_steps else tokens // self.step_tokens

    def unit_position(self, steps: int, tokens: int) -> int:
        """The position (steps, tokens) in the study's unit, for a learning curve; epochs are rounded."""
        by_unit = {
            "tokens": tokens,
            "steps": steps,
            "epochs": round(tokens / self.epoch_tokens),
            "flops": tokens * self.flops_per_token,
        }
        return by_unit[self.unit]
