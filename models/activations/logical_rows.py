"""Rows of the table: logical operators on groups of k channels, alone and several together."""

from collections.abc import Iterable, Mapping, Sized

from models.activations.function import Count, Derived, Function, Parameter, Smoothness
from models.activations.joining import DUPLICATE, PARTITION, Join, joined_width, moment_names
from models.activations.logical import OPERATORS, maxout, minout
from models.activations.normalisers import normaliser

SOURCE = "arXiv:2110.11940"
K = {"k": Count(usual=2, low=2, high=32)}
GROUPS = "joins groups of k adjacent channels"

FORMS: dict[str, tuple[str, str, Smoothness]] = {
    "ail": ("ail", "", "C0"),
    "il": ("il", "", "C-inf"),
    "nail": ("ail", "normalised", "C0"),
    "nil": ("il", "normalised", "C-inf"),
}
"""Of each form: whose operators it has, what is done to them, and their smoothness."""

FORMULAS = {
    ("ail", "and"): "sum of the negative z if there is one, else min(z)",
    ("ail", "or"): "sum of the positive z if there is one, else max(z)",
    ("ail", "xnor"): "(-1)^k sign(prod z) min|z|",
    ("il", "and"): "logit(prod sigmoid(z)); of two: -logsumexp(-a, -b, -a - b)",
    ("il", "or"): "logit(1 - prod(1 - sigmoid(z))); of two: logsumexp(a, b, a + b)",
    ("il", "xnor"): "2 atanh(prod tanh(-z / 2)); of two: logaddexp(a + b, 0) - logaddexp(a, b)",
}
TOGETHER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("and", "or"): (),
    ("or", "xnor"): (DUPLICATE, PARTITION),
    ("and", "or", "xnor"): (DUPLICATE, PARTITION),
}
"""Combinations of the paper; AND beside OR is only made by duplication."""


def alone(operator: str, form: str) -> Function:
    """Return the row of one operator in one form."""
    base, done, smoothness = FORMS[form]
    formula = FORMULAS[base, operator]
    return Function(
        formula=f"({formula} - mu) / sd" if done else formula,
        value=Join((("", OPERATORS[base][operator]),), normalised=bool(done)),
        joins=True,
        width=joined_width(1),
        parameters=_moments([""]) if done else {},
        derived=_derived({"": operator}, base) if done else None,
        counts=K,
        smoothness=smoothness,
        source=SOURCE,
        status="confirmed",
        transcendentals=_transcendentals([operator], base),
        note=f"{GROUPS}: the layer before is k times as wide",
    )


def together(operators: tuple[str, ...], form: str) -> Function:
    """Return the row of several operators in one form."""
    base, done, smoothness = FORMS[form]
    names = ", ".join(operators)
    return Function(
        formula=f"{names} by {form.upper()} of every group of k channels",
        value=Join(
            tuple((each, OPERATORS[base][each]) for each in operators), normalised=bool(done)
        ),
        joins=True,
        width=joined_width(len(operators)),
        words=_how(TOGETHER[operators]),
        parameters=_moments(operators) if done else {},
        derived=_derived({each: each for each in operators}, base) if done else None,
        counts=K,
        smoothness=smoothness,
        source=SOURCE,
        status="confirmed",
        transcendentals=_transcendentals(operators, base),
        note=f"{GROUPS}; channels that come out must divide by {len(operators)}",
    )


def _how(choices: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {"how": choices} if choices else {}


def _moments(operators: Iterable[str]) -> dict[str, Parameter]:
    numbers: dict[str, Parameter] = {}
    for operator in operators:
        mean, deviation = moment_names(operator)
        numbers[mean] = Parameter(initial=0.0, learnable=False)
        numbers[deviation] = Parameter(initial=1.0, learnable=False, range="positive")
    return numbers


def _derived(operators: Mapping[str, str], form: str) -> Derived:
    """Return the rule that fills in the moments of operators, by the endings of their names."""

    def of_counts(counts: Mapping[str, int]) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for ending, operator in operators.items():
            moments = normaliser(operator, form, counts["k"])
            numbers |= dict(zip(moment_names(ending), moments, strict=True))
        return numbers

    return of_counts


def _transcendentals(operators: Sized, form: str) -> int:
    # Per number that enters: for each operator two logarithms and exponentials of a pair.
    return 2 * len(operators) if form == "il" else 0


LOGICAL: dict[str, Function] = {
    **{
        f"{'parity' if operator == 'xnor' else operator}_{form}": alone(operator, form)
        for operator in ("and", "or", "xnor")
        for form in FORMS
    },
    **{
        f"{'_'.join(operators)}_{form}": together(operators, form)
        for operators in TOGETHER
        for form in FORMS
    },
    "max_min": Function(
        formula="max(z), min(z) of every group of k channels",
        value=Join((("max", maxout), ("min", minout))),
        joins=True,
        width=joined_width(2),
        words=_how((DUPLICATE, PARTITION)),
        counts=K,
        smoothness="C0",
        source=SOURCE,
        status="confirmed",
        note=f"{GROUPS}; channels that come out must divide by 2",
    ),
    "maxout": Function(
        formula="max(z) of every group of k channels",
        value=Join((("", maxout),)),
        joins=True,
        width=joined_width(1),
        counts=K,
        smoothness="C0",
        source="arXiv:1302.4389",
        status="confirmed",
        note=f"{GROUPS}: the layer before is k times as wide",
    ),
    "minout": Function(
        formula="min(z) of every group of k channels",
        value=Join((("", minout),)),
        joins=True,
        width=joined_width(1),
        counts=K,
        smoothness="C0",
        source=SOURCE,
        status="confirmed",
        note=f"{GROUPS}: the layer before is k times as wide",
    ),
}
