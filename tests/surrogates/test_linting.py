"""The linter: what built-in acquisitions deserve, and every fault found alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from surrogates import ACQUISITIONS, NEI, Autograd, LogEI, LogPI, Numerical, lint
from surrogates.linting import Report
from surrogates.linting.__main__ import load, main
from surrogates.linting.findings import Finding, close, order

# --- verdicts on what we have -----------------------------------------------------------------------------------------

REMARKS = {  # everything else passes everything that applies
    "ei": {"far from data": "fail"},  # it underflows; its logarithm does not
    "pi": {"scale": "note"},  # its margin is a hundredth of the spread of the losses
    "thompson": {"pending": "note"},  # another proposal is another draw
}


def remarks(report: Report) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in report.findings if finding.verdict in ("note", "fail")}


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_built_in_acquisitions_get_what_they_deserve(name: str) -> None:
    report = lint(name)
    assert remarks(report) == REMARKS.get(name, {}), str(report)
    assert report.is_ok == (name != "ei")
    assert all(bool(finding.remedy) == (finding.verdict in ("note", "fail")) for finding in report.findings)


def test_pi_without_a_margin_knows_no_unit() -> None:
    assert remarks(lint(LogPI(margin=0.0))) == {}


def test_expected_improvement_vanishes_by_forty_sd() -> None:
    far = lint("ei")["far from data"]
    assert not far.is_ok and "5.3e-08, 7.5e-25, 1.4e-90, 0 and slopes 1.5e-06, 7.7e-23, 5.5e-88, 0" in far.measured
    assert "-8.1e+02" in lint("logei")["far from data"].measured


def test_what_does_not_apply_is_said() -> None:
    assert lint(good).names_with("skip") == []
    assert lint(flat).names_with("skip") == ["gradient"]
    assert lint("logei").names_with("skip") == []
    assert lint("nei").names_with("skip") == ["mean", "sd"]


# --- faults of marginal acquisitions, each alone ----------------------------------------------------------------------


def good(posterior, incumbent):
    return incumbent - posterior.mean + 2 * posterior.sd


def raising(posterior, incumbent):
    raise RuntimeError("no\nidea")


def raising_at_zero(posterior, incumbent):
    if (posterior.sd == 0).any():
        raise ZeroDivisionError("sd is zero")
    return good(posterior, incumbent)


def column(posterior, incumbent):
    return good(posterior, incumbent)[:, None]


def one_number(posterior, incumbent):
    return good(posterior, incumbent).max()


def coarse(posterior, incumbent):
    return good(posterior, incumbent).astype(np.float32)


def not_a_number(posterior, incumbent):
    return np.where(posterior.sd > 1.5, np.nan, good(posterior, incumbent))


def random(posterior, incumbent):
    return good(posterior, incumbent) + 0.01 * np.random.default_rng().normal(size=len(posterior.mean))


def naive_log_ei(posterior, incumbent):
    sd = np.maximum(posterior.sd, 1e-12)
    z = (incumbent - posterior.mean) / sd
    return np.log(sd * (norm.pdf(z) + z * ndtr(z)) + 1e-300)


def flat(posterior, incumbent):
    return np.maximum(good(posterior, incumbent), 0.0)


def dividing(posterior, incumbent):
    return (incumbent - posterior.mean) / posterior.sd


def assigning(posterior, incumbent):
    posterior.mean -= incumbent
    return 2 * posterior.sd - posterior.mean


def writing_sd(posterior, incumbent):
    sd = posterior.sd
    sd *= 2
    return incumbent - posterior.mean + sd


def centred(posterior, incumbent):
    return good(posterior, incumbent) - np.asarray(posterior.mean).mean()


def cumulative(posterior, incumbent):
    return good(posterior, incumbent) + 1e-6 * np.arange(len(posterior.mean))


def contrary(posterior, incumbent):
    return 2 * posterior.sd + np.abs(incumbent - posterior.mean)


def averse(posterior, incumbent):
    return incumbent - posterior.mean - posterior.sd


def incurious(posterior, incumbent):
    return incumbent - posterior.mean


def anchored(posterior, incumbent):
    return 2 * posterior.sd - posterior.mean - 0.5 * np.abs(posterior.mean)


def in_units(posterior, incumbent):
    return incumbent - posterior.mean + posterior.sd**2


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (raising, {"runs": "fail"}),
        (column, {"shape": "fail"}),
        (one_number, {"shape": "fail"}),
        (coarse, {"numbers": "fail"}),
        (not_a_number, {"numbers": "fail"}),
        (random, {"repeatable": "fail"}),
        (naive_log_ei, {"far from data": "fail"}),
        (flat, {"far from data": "fail"}),
        (dividing, {"sd near zero": "fail"}),
        (raising_at_zero, {"sd near zero": "fail"}),
        (assigning, {"runs": "fail"}),
        (writing_sd, {"in place": "fail"}),
        (centred, {"company": "fail"}),
        (cumulative, {"company": "fail"}),
        (contrary, {"mean": "fail"}),
        (averse, {"sd": "note"}),
        (incurious, {"sd": "note"}),
        (anchored, {"shift": "fail"}),
        (in_units, {"scale": "note"}),
        (good, {}),
    ],
)
def test_a_fault_is_found_alone(function: Any, found: dict[str, str]) -> None:
    report = lint(function)
    assert remarks(report) == found, str(report)
    assert report.is_ok == ("fail" not in found.values())


def test_an_exception_is_reported_in_one_line() -> None:
    report = lint(raising)
    assert report["runs"].measured == "raised RuntimeError: no idea"
    assert report.names_with("skip") == [finding.name for finding in report.findings[1:]]
    assert "before 'runs' passes" in report["scale"].measured
    assert "ZeroDivisionError: sd is zero" in lint(raising_at_zero)["sd near zero"].measured


def test_what_is_measured_can_be_read() -> None:
    assert lint(column)["shape"].measured.startswith("1 points gave an array of shape (1, 1)")
    assert lint(coarse)["numbers"].measured == "scores are of type float32"
    assert "64 of 256 scores are NaN" in lint(not_a_number)["numbers"].measured
    assert lint(writing_sd)["in place"].measured == "a call changed posterior.sd"
    assert "in halves and one by one" in lint(centred)["company"].measured
    assert "it avoids risk" in lint(averse)["sd"].measured and "never explores" in lint(incurious)["sd"].measured
    assert "of 1770 pairs of points change their order" in lint(anchored)["shift"].measured


@dataclass(frozen=True)
class Sloped:
    """UCB with a gradient that is off by a factor, or of another shape."""

    factor: float = 1.0
    narrow: bool = False

    def __call__(self, posterior, incumbent):
        return good(posterior, incumbent)

    def gradient(self, posterior, incumbent):
        ones = np.ones(1 if self.narrow else len(posterior.mean))
        return self(posterior, incumbent), -ones, 2.0 * self.factor * ones


def test_a_wrong_gradient_is_found_alone() -> None:
    assert remarks(lint(Sloped())) == {}
    wrong = lint(Sloped(1.001))
    assert remarks(wrong) == {"gradient": "fail"}
    assert "d score / d sd is 2.002 where 2 was measured" in wrong["gradient"].measured
    assert remarks(lint(Sloped(narrow=True))) == {"gradient": "fail"}


def test_autograd_is_compared_too() -> None:
    torch = pytest.importorskip("torch")
    assert remarks(lint(Autograd(good))) == {}
    detached = lint(Autograd(lambda posterior, incumbent: good(posterior, incumbent) + posterior.sd.detach()))
    assert remarks(detached) == {"gradient": "fail"}
    assert remarks(lint(lambda posterior, incumbent: torch.log(posterior.sd))) == {"sd near zero": "fail"}
    taken_for_numpy = lint(Numerical(lambda posterior, incumbent: torch.log(posterior.sd)))
    assert remarks(taken_for_numpy) == {"runs": "fail"} and "Autograd(f)" in taken_for_numpy["runs"].remedy


# --- reports and the command ------------------------------------------------------------------------------------------


def test_a_report_prints_as_a_table() -> None:
    lines = str(lint(averse)).splitlines()
    assert lines[0] == f"{__name__}:averse: a function of mean and sd, derivatives by autograd"
    assert lines[-1] == "12 passed, 1 noted"
    assert any(line.startswith("note  sd             it avoids risk: ") for line in lines)
    assert max(map(len, lines)) <= 110
    assert lint(Numerical(averse)).subject == f"Numerical({__name__}:averse)"
    assert lint(NEI(draws=8)).subject == "NEI(draws=8, most=64)"


def test_a_finding_is_reached_by_name() -> None:
    report = lint(good)
    assert report["shift"] is report.findings[-2]
    with pytest.raises(KeyError, match="there is no finding 'sift'; allowed are"):
        report["sift"]


def test_a_class_is_not_an_instance() -> None:
    for chosen in (LogEI, NEI):
        assert lint(chosen).findings == (  # type: ignore[arg-type]
            Finding("runs", "fail", f"{chosen.__name__} is a class", f"Pass an instance, such as {chosen.__name__}()."),
        )


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="acquisition 'logie' is not one of logei"):
        lint("logie")


def test_the_command_says_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logei"]) == 0 and capsys.readouterr().out.endswith("13 passed\n")
    assert main([f"{__name__}:contrary"]) == 1 and "FAIL  mean " in capsys.readouterr().out
    assert load(f"{__name__}:good") is good


@pytest.mark.parametrize("name", ["nothing:there", "math:no", "math:pi", "logie", ":f", "math:", "tests.surrogates"])
def test_the_command_refuses_in_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    said = capsys.readouterr()
    assert said.out == "" and repr(name) in said.err and said.err.count("\n") == 1


def test_a_broken_module_is_refused_in_one_sentence(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "half_written.py").write_text("def f(posterior, incumbent):\n    return (")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["half_written:f"]) == 2
    said = capsys.readouterr().err
    assert "SyntaxError" in said and said.count("\n") == 1


# --- what checks share ------------------------------------------------------------------------------------------------


@np.errstate(invalid="ignore")
def test_order_counts_pairs_that_turn() -> None:
    up = np.arange(4.0)
    assert order(up, 3 * up, 1e-9) == ""
    assert order(up, np.array([0.0, 2.0, 1.0, 3.0]), 1e-9) == "1 of 6 pairs of points change their order"
    assert order(up, -up, 1e-9) == "6 of 6 pairs of points change their order, and another point is best"
    assert order(up, np.array([0.0, 1.0, 2.0, 2.0 - 1e-12]), 1e-9) == ""  # a tie turns nothing
    assert order(np.array([0.0, 1.0, -np.inf, -np.inf]), np.array([0.0, 1.0, -1.0, -2.0]), 1e-9) == ""


@np.errstate(invalid="ignore")
def test_close_is_relative_and_knows_infinities() -> None:
    wanted = np.array([1e-9, 1.0, -np.inf, np.nan, 1.0])
    got = np.array([2e-9, 1.00001, -np.inf, np.nan, 1.001])
    np.testing.assert_array_equal(close(got, wanted), [True, True, True, True, False])
