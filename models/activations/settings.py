"""Other names: a row of the table with some parameters set, mostly as authors' code has them."""

from collections.abc import Mapping

from models.activations.logical_rows import FORMS

XNOR = {f"xnor_{form}": (f"parity_{form}", {"k": 2}) for form in FORMS}
OF_THREE = {
    f"{operator}_{form}_k3": (f"{operator}_{form}", {"k": 3})
    for operator in ("and", "or", "parity")
    for form in FORMS
}

ALIASES: dict[str, tuple[str, Mapping[str, float | int | str | bool]]] = {
    "ada_charcnn": ("ada", {"alpha": 0.5, "c": 1.0}),
    "ada_mlp": ("ada", {"alpha": 0.3, "c": 0.0}),
    "arelu_alt": ("arelu", {"a": 0.9, "b": 0.2, "c": 0.1, "d": -0.05}),
    "arelu_code_init": ("arelu", {"a": 1.0, "b": 1.0}),
    "asigmoid_alt": ("asigmoid", {"a": 0.8, "b": 1.5, "c": 0.2, "d": -0.1}),
    "atanh_alt": ("atanh", {"a": 0.8, "b": 1.5, "c": 0.2, "d": -0.1}),
    "celu_alt": ("celu", {"alpha": 2.0}),
    "laaf_relu": ("laaf", {"base": "relu", "n": 2.0}),
    "laaf_sigmoid": ("laaf", {"base": "sigmoid", "n": 10.0}),
    "laaf_sin": ("laaf", {"base": "sin", "n": 10.0}),
    "laaf_tanh": ("laaf", {"base": "tanh", "n": 10.0}),
    "laaf_tanh_alt": ("laaf", {"base": "tanh", "n": 5.0, "a": 0.3}),
    "leaky_ada_charcnn": ("leaky_ada", {"alpha": 0.5, "c": 1.0}),
    "leaky_ada_lenet": ("leaky_ada", {"alpha": 0.9}),
    "leaky_ada_mlp": ("leaky_ada", {"alpha": 0.1}),
    "maxout2": ("maxout", {"k": 2}),
    "minout2": ("minout", {"k": 2}),
    "pfplus_linear_like": ("pfplus", {"lam": 5.0, "mu": 0.1}),
    "pfplus_relu_like": ("pfplus", {"lam": 0.2, "mu": 10.0}),
    "pvlu_alt": ("pvlu", {"alpha": 0.5, "beta": 2.0}),
    "pvlu_identity_preserving": ("pvlu", {"alpha": 0.0, "beta": 1.0}),
    "rowdy_cos_alt": ("rowdy", {"base": "cos", "terms": 2, "a1": 0.02, "a2": -0.01, "w2": 0.12}),
    "rowdy_tanh": ("rowdy", {"base": "tanh", "terms": 2}),
    "rowdy_tanh_alt": ("rowdy", {"base": "tanh", "terms": 2, "a1": 0.02, "a2": -0.01, "w2": 0.12}),
    "srelu_alt": ("srelu", {"t_l": -1.5, "a_l": 0.2, "t_r": 2.0, "a_r": 0.5}),
    "srs_senet": ("srs", {"alpha": 10.0, "beta": 10.0}),
    "swish_benchmark_init": ("swish", {"beta": 0.25}),
    "vlu": ("pvlu", {"learnable": False}),
    **XNOR,
    **OF_THREE,
}
