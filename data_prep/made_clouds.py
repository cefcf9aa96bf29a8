"""Made skies over real scenes: clouds with their shadows, haze, and pictures exposed too long.

For measuring and testing the check for hidden ground: what is left of the ground is known in every
pixel. A veil follows Koschmieder (1924), `I = J t + A (1 - t)`: J is the ground, t the share of its
signal that comes through (the transmission), A the brightness of the cloud itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

CLOUD_BRIGHTNESS = (185.0, 255.0)
"""8-bit brightness of opaque cloud: 185 is where `depth` puts the brightest of deeper pixels."""
HAZE_BRIGHTNESS = (165.0, 240.0)
TINT = 0.04
"""Share by which a band of the veil may differ from grey, either way."""
SENSOR_NOISE = (0.5, 3.0)
"""Standard deviation, in 8-bit steps, of what the sensor adds in front of any veil."""
SHADING = (0.02, 0.10)
"""Standard deviation of a cloud's brightness as a share of it: its lit and its shaded sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeSky:
    """What lies between the ground and the sensor.

    Attributes:
        transmission: Share of the ground's signal that comes through, 0..1, float32 (h, w).
        veil: Brightness of what is in the way, 0..255, float32 (3, h, w).
        light: Share of the sunlight that reaches the ground, 0..1, float32 (h, w).
        noise: Standard deviation of what the sensor adds, in 8-bit steps.
    """

    transmission: Floats
    veil: Floats
    light: Floats
    noise: float

    def over(self, ground: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Return uint8 (3, h, w): the ground (the same shape) as seen through this sky."""
        lit = ground * self.light
        seen = lit * self.transmission + self.veil * (1 - self.transmission)
        seen += np.float32(self.noise) * random.standard_normal(seen.shape, dtype=np.float32)
        return np.clip(seen + 0.5, 0, 255).astype(np.uint8)


def make_clouds(
    random: np.random.Generator, shape: tuple[int, int], *, cover: float, depth: float
) -> MadeSky:
    """Return a sky with clouds and their shadows.

    Args:
        random: Where everything random comes from.
        shape: Height and width in pixels.
        cover: Share of the picture with any cloud, 0..1.
        depth: Optical thickness one standard deviation of the field above the clouds' edge; from
            4 on, most of a cloud is opaque.
    """
    field = fractal_field(random, shape, slope=random.uniform(1.8, 2.4))
    thickness = depth * np.maximum(0, field - np.quantile(field, 1 - cover))
    through = np.exp(-thickness).astype(np.float32)
    # The sun stands aside, so a shadow lies beside its cloud.
    away = [int(step) for step in random.integers(40, 200, 2)]
    shadow = random.uniform(0.3, 0.65) * (1 - np.roll(through, away, (0, 1)))
    return MadeSky(
        transmission=through,
        veil=_veil(random, shape, CLOUD_BRIGHTNESS, shading=random.uniform(*SHADING)),
        light=(1 - shadow).astype(np.float32),
        noise=random.uniform(*SENSOR_NOISE),
    )


def make_haze(
    random: np.random.Generator, shape: tuple[int, int], *, transmission: float
) -> MadeSky:
    """Return a sky with a veil over all of it, thicker here and thinner there.

    Args:
        random: Where everything random comes from.
        shape: Height and width in pixels.
        transmission: Its median over the picture, 0..1.
    """
    field = fractal_field(random, shape, slope=2.4)
    thickness = -np.log(transmission) * np.exp(0.12 * (field - np.median(field)))
    return MadeSky(
        transmission=np.exp(-thickness).astype(np.float32),
        veil=_veil(random, shape, HAZE_BRIGHTNESS, shading=0.02),
        light=np.ones(shape, np.float32),
        noise=random.uniform(*SENSOR_NOISE),
    )


def expose(ground: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """Return the ground, uint8 of any shape, as a sensor clips it at a gain of 1 or more."""
    return np.asarray(np.minimum(ground * np.float32(gain) + 0.5, 255), np.uint8)


def fractal_field(
    random: np.random.Generator, shape: tuple[int, int], *, slope: float
) -> NDArray[np.float32]:
    """Return a fractal field of mean 0 and deviation 1, float32 of this shape.

    Spectral synthesis (Saupe 1988, in The Science of Fractal Images, ch. 2): white noise whose
    amplitudes are made to fall with the wave number k as `k ** -slope`. The water in clouds falls
    with 4/3 (Cahalan and Snider 1989), the light from them is smoother below some 200 m (Marshak
    et al. 1995), which is all that one scene shows.
    """
    height, width = shape
    waves = np.fft.rfft2(random.standard_normal((height, width), dtype=np.float32))
    numbers = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    numbers[0, 0] = np.inf
    field = np.fft.irfft2(waves * numbers**-slope, s=shape)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _veil(
    random: np.random.Generator,
    shape: tuple[int, int],
    brightness: tuple[float, float],
    *,
    shading: float,
) -> NDArray[np.float32]:
    """Return the brightness of a veil, float32 (3, h, w), shaded by that share of itself."""
    colour = random.uniform(*brightness) * (1 + random.uniform(-TINT, TINT, 3))
    shades = 1 + shading * fractal_field(random, shape, slope=random.uniform(1.5, 2.0))
    return np.asarray(np.clip(colour[:, None, None] * shades, 0, 255), np.float32)
