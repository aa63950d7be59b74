"""What a page says about the importance of hyperparameters, in words; and the numbers that it draws, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.analysis.export import to_json
from hpo.analysis.importance import MOST, Correlations, Effect, Importance, importance
from hpo.history import History
from hpo.parameters import Categorical
from hpo.space import Space
from hpo.values import quantity

LITTLE = 0.3  # R² below which a model knows little
PANELS = 16  # hyperparameters whose results are shown


def describe_importance(
    history: History, space: Space, best: Mapping[str, Any] | None = None, place: int = 0, most: int = MOST
) -> dict[str, Any]:
    """The importance for one objective (see `importance`), with its sentences:

    said, effects_said   below the headings
    first, total         indices by name, the largest total first; absent without a model
    effects              of the most important: name, x (numbers, or places of choices), mean, around
    """
    return describe_model(importance(history, space, best, place, most), space, history.header.horizon)


def describe_model(found: Importance | Correlations, space: Space, horizon: int) -> dict[str, Any]:
    """The same of what was found already."""
    if isinstance(found, Correlations):
        return {"said": explain_correlations(found)}
    if not any(found.total.values()):
        return {"said": NO_DIFFERENCE}
    effects = [{"name": one.name, "x": _places(one, space), "mean": one.mean, "around": one.around} for one in found.effects]
    return to_json({  # type: ignore[no-any-return]
        "objective": found.objective, "until": found.until, "results": found.results, "explained": found.explained,
        "first": dict(found.first), "total": dict(found.total), "effects": effects, "said": explain_model(found, horizon),
        "effects_said": explain_effects(found, horizon),
    })  # fmt: skip


NO_DIFFERENCE = "The model sees no difference between configurations."


def explain_model(found: Importance, horizon: int) -> str:
    """Where Sobol indices come from, and how far they can be believed."""
    care = ": the model knows little, so read this with care" if found.explained < LITTLE else ""
    less = " What matters after so short a training need not matter as much after a whole one." if found.until < horizon else ""
    budget = quantity(found.until, found.unit)
    return (
        f"Sobol indices of a Gaussian process fitted to the {found.results} results at {budget}, over the "
        f"whole space. Left out in turn, the results are predicted with R² = {found.explained:.2f}{care}.{less}"
    )


def explain_effects(found: Importance, horizon: int) -> str:
    """What the curves of effects are."""
    shown, names = len(found.effects), len(found.total)
    some = f", for the {shown} of {names} that mattered most" if shown < names else ""
    there = " at that budget" if found.until < horizon else ""
    return f"The modelled {found.objective}{there} as one hyperparameter varies{some}; dotted is the value of the best."


def explain_correlations(found: Correlations) -> str:
    """Why there is no model, and what there is in its place."""
    if len(found.keys) < 2 or not found.tau:
        return f"{found.reason}."
    leads = [f"{name} {tau:+.2f}" for name, tau in found.tau.items() if tau][:3]
    chance = f" Kendall's τ with the loss: {', '.join(leads)}; of so few results it may be chance." if leads else ""
    some = f"{PANELS} of the {len(found.tau)} hyperparameters" if len(found.tau) > PANELS else "each hyperparameter"
    return f"{found.reason}.{chance} What there is, every result over the value of {some}:"


def _places(effect: Effect, space: Space) -> Sequence[Any]:
    spec = space.parameters[effect.name]
    return [int(spec.encode(value)) for value in effect.values] if isinstance(spec, Categorical) else effect.values
