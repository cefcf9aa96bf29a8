"""The five Langevin optimisers of arXiv:2212.14718, with its defaults."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.optimizer import ParamsT

from damagenet.errors import ConfigError
from models.langevin.noise import Draws, Group, Langevin, Noise, gradients_of, moving, require


class LSGD(Langevin, SGD):
    """Stochastic gradient descent with noise (SGLD); P is 1."""

    def __init__(
        self, params: ParamsT, *, noise: Noise, lr: float = 1e-3, weight_decay: float = 0.0
    ) -> None:
        """Raise ConfigError or ValueError if a value is out of range."""
        if noise.max_precond < math.inf:
            raise ConfigError("max_precond is without effect where P is 1: leave it out")
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.start_noise(noise)


class LRMSprop(Langevin, RMSprop):
    """RMSprop with noise (pSGLD); P is 1 / (eps + sqrt(v)), v the mean of squared gradients."""

    def __init__(
        self,
        params: ParamsT,
        *,
        noise: Noise,
        lr: float = 1e-3,
        alpha: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        """Raise ConfigError or ValueError if a value is out of range."""
        _check_averaging(eps, alpha=alpha)
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)
        self.start_noise(noise)

    def inverse_preconditioners(self, group: Group, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return eps + sqrt(v)."""
        roots = torch._foreach_sqrt([self.state[p]["square_avg"] for p in parameters])
        torch._foreach_add_(roots, group["eps"])
        return list(roots)


class LAdam(Langevin, Adam):
    """Adam with noise; P is 1 / ((1 - beta1^t) (eps + sqrt(v / (1 - beta2^t))))."""

    def __init__(
        self,
        params: ParamsT,
        *,
        noise: Noise,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        """Raise ConfigError or ValueError if a value is out of range."""
        _check_averaging(eps, beta1=beta1, beta2=beta2)
        super().__init__(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
        self.start_noise(noise)

    def inverse_preconditioners(self, group: Group, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return (1 - beta1^t) (eps + sqrt(v / (1 - beta2^t)))."""
        beta1, beta2 = group["betas"]
        taken = [float(self.state[p]["step"]) for p in parameters]
        roots = torch._foreach_sqrt([self.state[p]["exp_avg_sq"] for p in parameters])
        torch._foreach_div_(roots, [math.sqrt(1 - beta2**t) for t in taken])
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_mul_(roots, [1 - beta1**t for t in taken])
        return list(roots)


class LAdam2(LAdam):
    """Steps along the gradient itself with the P of `LAdam`, and noise.

    The paper has it with noise in chosen layers only.
    """

    def base_step(self) -> None:
        """Take the step without noise; beta1 is in P alone."""
        for group in self.param_groups:
            parameters = moving(group)
            if not parameters:
                continue
            gradients, beta2 = _decayed(group, parameters), group["betas"][1]
            squares = _averages(self, "exp_avg_sq", parameters)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
            for parameter in parameters:
                state = self.state[parameter]
                state["step"] = state.get("step", torch.zeros(())) + 1
            inverse = self.inverse_preconditioners(group, parameters)
            torch._foreach_addcdiv_(parameters, gradients, inverse, value=-group["lr"])


class LAdadelta(Langevin):
    """Adadelta with noise; P is sqrt(D + eps) / sqrt(v + eps).

    D is the mean of squared steps, whole ones with learning rate and noise, where
    `torch.optim.Adadelta` squares them before the learning rate: both agree at lr 1 and sigma 0.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        noise: Noise,
        lr: float = 0.01,
        rho: float = 0.95,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        """Raise ConfigError if a value is out of range."""
        _check_averaging(eps, rho=rho)
        require("weight_decay", weight_decay, "0 or above", lambda value: value >= 0)
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.start_noise(noise)

    def move(self, draws: Draws) -> None:
        """Move the parameters by whole steps, and keep the squares of these."""
        for group in self.param_groups:
            parameters = moving(group)
            if not parameters:
                continue
            gradients, rho, eps = _decayed(group, parameters), group["rho"], group["eps"]
            squares = _averages(self, "square_avg", parameters)
            moved = _averages(self, "acc_delta", parameters)
            torch._foreach_mul_(squares, rho)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - rho)
            root, preconditioners = torch._foreach_add(squares, eps), torch._foreach_add(moved, eps)
            torch._foreach_sqrt_(root)
            torch._foreach_sqrt_(preconditioners)
            torch._foreach_div_(preconditioners, root)
            steps = torch._foreach_mul(preconditioners, gradients)
            torch._foreach_mul_(steps, group["lr"])
            scale = self.scale(group)
            if scale > 0:
                inverse = list(torch._foreach_reciprocal(preconditioners))
                torch._foreach_sub_(steps, self.drawn(parameters, inverse, scale, draws))
            torch._foreach_mul_(moved, rho)
            torch._foreach_addcmul_(moved, steps, steps, value=1 - rho)
            torch._foreach_sub_(parameters, steps)


def _averages(optimizer: Optimizer, name: str, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return running means that an optimiser keeps, zero before the first step."""
    for parameter in parameters:
        if name not in optimizer.state[parameter]:
            optimizer.state[parameter][name] = torch.zeros_like(parameter)
    return [optimizer.state[parameter][name] for parameter in parameters]


def _decayed(group: Group, parameters: list[Tensor]) -> list[Tensor]:
    """Return the gradients with weight decay."""
    gradients = gradients_of(parameters)
    if group["weight_decay"] == 0:
        return gradients
    return list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))


def _check_averaging(eps: float, **shares: float) -> None:
    require("eps", eps, "above 0", lambda value: value > 0)
    for name, share in shares.items():
        require(name, share, "within 0..1, below 1", lambda value: 0 <= value < 1)
