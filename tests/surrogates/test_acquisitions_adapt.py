"""Plain functions as acquisitions: autograd or differences, what is refused and in which sentence."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr

from surrogates import EI, NEI, UCB, Autograd, LogEI, Normal, Numerical, Score, acquisition, maximize, score_of
from tests.surrogates.contexts import DOMAINS, assert_slopes, box, context, inside


def in_torch(posterior, incumbent):
    z = (incumbent - posterior.mean) / posterior.sd
    return torch.log(posterior.sd) + torch.special.log_ndtr(z)


def in_numpy(posterior, incumbent):
    sd = np.maximum(posterior.sd, 1e-12)
    return np.log(sd) + log_ndtr((incumbent - posterior.mean) / sd)


def arithmetic(posterior, incumbent):
    return incumbent - posterior.mean + 2 * posterior.sd


def writing(posterior, incumbent):
    sd = posterior.sd
    sd *= 2  # in place: autograd forbids it
    return sd - posterior.mean


class Called:
    def __call__(self, posterior, incumbent):
        return arithmetic(posterior, incumbent)


# --- which derivatives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [in_torch, arithmetic, Called(), functools.partial(arithmetic)])
def test_what_makes_a_differentiable_tensor_is_left_to_autograd(f):
    assert acquisition(f) == Autograd(f)


@pytest.mark.parametrize("f", [
    in_numpy, lambda posterior, incumbent: np.where(posterior.mean < incumbent, posterior.sd, 0.0),
    lambda posterior, incumbent: torch.from_numpy(posterior.mean), lambda posterior, incumbent: [0.0] * len(posterior.sd),
    lambda posterior, incumbent: posterior.sd.astype(np.float32),
    lambda posterior, incumbent: torch.zeros(len(posterior.mean)),
])  # fmt: skip
def test_for_anything_else_differences_are_taken(f):
    assert acquisition(f) == Numerical(f)


def test_what_has_derivatives_or_is_wrapped_is_left_as_it_is():
    for chosen in (UCB(), NEI(), Autograd(in_torch), Numerical(in_torch), Numerical(arithmetic)):
        assert acquisition(chosen) is chosen


@pytest.mark.parametrize("where", DOMAINS)
def test_a_function_of_tensors_is_climbed(where):
    domain = DOMAINS[where]
    s = context(domain, pending=2)
    score, same = (score_of(acquisition(f), s) for f in (in_torch, in_numpy))
    X = inside(domain, 6)
    assert_slopes(score, X, domain)
    np.testing.assert_allclose(score(X), same(X), rtol=1e-10)
    best, again = (maximize(each, domain, 0, best_rows=s.rows) for each in (score, same))
    assert score(best[None])[0] == pytest.approx(score(again[None])[0], abs=1e-3)


def test_torch_is_imported_only_for_a_function():
    said = "import sys, surrogates; surrogates.acquisition('logei'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", said], check=True)


@pytest.mark.parametrize("sd", [1.0, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("chosen", [LogEI(), EI(), UCB()])
def test_differences_are_as_good_where_sd_is_tiny(chosen, sd):
    """Steps of 1e-12 beside a mean of 1.2 lose nothing but what the score itself is rounded to."""
    incumbent, sds = 1.234, np.full(61, 1.1 * sd)
    belief = Normal(incumbent - np.linspace(-6.0, 3.0, 61) * sds, sds)
    tolerance = 1e-9 if isinstance(chosen, LogEI) else 1e-7
    for got, exact in zip(Numerical(chosen).gradient(belief, incumbent), chosen.gradient(belief, incumbent), strict=True):
        np.testing.assert_allclose(got, exact, rtol=tolerance)


def test_differences_stay_finite_without_any_sd():
    belief = Normal(np.array([-1.3, 0.0, 40.0]), np.zeros(3))
    for part in Numerical(in_numpy).gradient(belief, -1.3):
        assert np.isfinite(part).all()


# --- what is refused when it is chosen --------------------------------------------------------------------------------


def forgetful(posterior, incumbent):
    _ = posterior.mean - incumbent


def misspelt(posterior, incumbent):
    return posterior.means


def one_argument(posterior):
    return posterior.mean


def broken_in_torch(posterior, incumbent):
    return torch.log(posterior.sd) + posterior.mean[:2]


@pytest.mark.parametrize(("f", "sentence"), [
    (lambda posterior, incumbent: posterior.mean.max(), r"acquisition <lambda> gave scores of shape \(\), when"),
    (lambda posterior, incumbent: posterior.mean[:1], r"gave scores of shape \(1,\), when it was tried with 3 points"),
    (lambda posterior, incumbent: posterior.mean[:, None] * torch.ones(2), r"gave scores of shape \(3, 2\)"),
    (lambda posterior, incumbent: np.stack([posterior.mean, posterior.sd], axis=1), r"gave scores of shape \(3, 2\)"),
    (lambda posterior, incumbent: 1.0, r"gave scores of shape \(\)"), (forgetful, "acquisition forgetful gave None"),
    (misspelt, "acquisition misspelt raised AttributeError: 'Normal' object has no attribute 'means', when it was tried"),
    (one_argument, r"raised TypeError: one_argument\(\) takes 1 positional argument but 2 were given, when"),
    (broken_in_torch, "raised TypeError: .* with arrays and raised RuntimeError: The size of tensor .* with torch tensors"),
])  # fmt: skip
def test_what_makes_no_scores_is_refused(f, sentence):
    with pytest.raises(ValueError, match=rf"{sentence}.*; allowed is f\(posterior, incumbent\) -> \(m,\) scores") as refused:
        acquisition(f)
    assert "\n" not in str(refused.value)


def writing_mean(posterior, incumbent):
    m = posterior.mean
    m -= incumbent
    return -m + posterior.sd


def writing_one(posterior, incumbent):
    posterior.mean[0] = incumbent
    return -posterior.mean


class WritingGradient(UCB):
    """A class with derivatives of its own, which writes only there."""

    def gradient(self, posterior, incumbent):
        posterior.sd[:] = 1.0
        return super().gradient(posterior, incumbent)


@pytest.mark.parametrize("f", [writing, writing_mean, writing_one])
def test_what_writes_into_the_posterior_is_refused(f):
    """Differences read the same arrays again: its scores and slopes would be wrong, and nobody would know."""
    sentence = rf"acquisition {f.__name__} writes into posterior\.mean or posterior\.sd, which others read too; allowed is"
    with pytest.raises(ValueError, match=sentence) as refused:
        acquisition(f)
    assert "\n" not in str(refused.value)
    belief = Normal(np.array([0.3, 1.0]), np.array([0.5, 0.1]))
    for ask in (Numerical(f), Numerical(f).gradient):
        with pytest.raises(ValueError, match=sentence):
            ask(belief, 0.2)
    np.testing.assert_array_equal(belief.mean, [0.3, 1.0])
    belief.mean[0] = 0.0  # its owner may still write


def test_derivatives_of_its_own_may_not_write_either():
    score = score_of(WritingGradient(), context(box(2)))
    with pytest.raises(ValueError, match="acquisition WritingGradient writes into"):
        score.gradient(inside(box(2), 5))


def test_another_error_is_left_as_it_is():
    def empty(posterior, incumbent):
        return posterior.mean + np.zeros(0).max()

    with pytest.raises(ValueError, match="zero-size array"):
        Numerical(empty)(Normal(np.zeros(3), np.ones(3)), 0.0)


@pytest.mark.parametrize("chosen", [LogEI, NEI, Called])
def test_a_class_is_refused(chosen):
    said = rf"acquisition is the class {chosen.__name__}; allowed is an instance, such as {chosen.__name__}\(\)"
    with pytest.raises(ValueError, match=said):
        acquisition(chosen)


# --- what is refused when it is asked ---------------------------------------------------------------------------------


class Sloped:
    """Right scores, but one derivative for all points."""

    def __call__(self, posterior, incumbent):
        return -posterior.mean

    def gradient(self, posterior, incumbent):
        return -posterior.mean, -np.ones(1), np.zeros(len(posterior.mean))


@pytest.mark.parametrize(("f", "shape"), [
    (lambda posterior, incumbent: posterior.mean.max(), r"\(\)"), (lambda posterior, incumbent: posterior.mean[:1], r"\(1,\)"),
    (lambda posterior, incumbent: np.stack([posterior.mean] * 2, axis=1), r"\(5, 2\)"),
])  # fmt: skip
def test_wrong_shapes_are_refused_where_rows_are_scored(f, shape):
    s, X = context(box(2)), inside(box(2), 5)
    score = score_of(Numerical(f), s)
    with pytest.raises(ValueError, match=rf"acquisition .*<lambda> gave scores of shape {shape} for 5 points; allowed is \(m,\)"):
        score(X)


def test_wrong_derivatives_are_refused_where_rows_are_scored():
    s, X = context(box(2)), inside(box(2), 5)
    score = score_of(Sloped(), s)
    assert isinstance(score, Score) and score(X).shape == (5,)
    with pytest.raises(ValueError, match=r"acquisition Sloped gave derivatives by the mean of shape \(1,\) for 5 points"):
        score.gradient(X)
