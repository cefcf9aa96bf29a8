import { describe, expect, it } from "vitest";
import { radii, spacing } from "../src/map/dots";

function grid(side: number, degrees: number, west = -95): { lon: number[]; lat: number[] } {
  const steps = [...Array(side).keys()].map((step) => (step / side) * degrees);
  return { lon: steps.flatMap((x) => steps.map(() => west + x)), lat: steps.flatMap(() => steps) };
}

function units(...parts: { lon: number[]; lat: number[] }[]) {
  const lon = parts.flatMap((part) => part.lon);
  const lat = parts.flatMap((part) => part.lat);
  const bounds: [number, number, number, number] = [Math.min(...lon), Math.min(...lat), Math.max(...lon), Math.max(...lat)];
  return { count: lon.length, lon: Float64Array.from(lon), lat: Float64Array.from(lat), bounds };
}

describe("the size of dots", () => {
  it("knows the way from one unit to the next", () => {
    expect((spacing(units(grid(128, 0.1))) * 360) / (0.1 / 128)).toBeCloseTo(1, 1);
  });

  it("does not count the ground between scenes", () => {
    const near = spacing(units(grid(128, 0.1)));
    const apart = spacing(units(grid(128, 0.1), grid(128, 0.1, -85)));
    expect(apart).toBeLessThan(near * 4);
  });

  it("lets neighbours not cover each other, nor grows beyond what one alone has", () => {
    const way = 1e-6;
    for (const [zoom, radius] of radii(way)) {
      expect(radius).toBeGreaterThanOrEqual(1);
      expect(radius === 1 || radius <= 0.6 * way * 512 * 2 ** zoom + 1e-9).toBe(true);
    }
    expect(radii(Infinity).at(-1)).toEqual([18, 9]);
  });

  it("is at ease with one unit, with none and with all in one place", () => {
    const one = { count: 1, lon: Float64Array.of(3), lat: Float64Array.of(4), bounds: [3, 4, 3, 4] as [number, number, number, number] };
    expect(spacing(one)).toBe(Infinity);
    expect(spacing({ ...one, count: 2, lon: Float64Array.of(3, 3), lat: Float64Array.of(4, 4) })).toBe(Infinity);
    expect(spacing({ ...one, count: 1, lon: Float64Array.of(NaN), lat: Float64Array.of(NaN) })).toBe(Infinity);
    expect(spacing({ count: 0, lon: new Float64Array(), lat: new Float64Array(), bounds: null })).toBe(Infinity);
  });
});
