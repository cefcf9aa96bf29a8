/** How large dots are: as large as they may be without hiding the picture and each other. */

import type { ExpressionSpecification } from "maplibre-gl";
import type { Units } from "../results/units";

/** Pixels of MapLibre's zoom 0 around the Earth. */
const WORLD_PX = 512;
const SMALLEST_PX = 1;
/** Of the way from one building to the next. */
const SHARE = 0.6;
/** Radius where buildings are far apart, by zoom. */
const ALONE: readonly (readonly [zoom: number, radius: number])[] = [[8, 1.2], [10, 1.7], [12, 2.4], [13, 3], [14, 3.8], [15, 4.7], [16, 5.9], [18, 9]];
/** Dots below this radius have no border: it would hide their colour. */
const BORDERED_PX = 2.5;
/** Cells of the grid by which it is told how much of the box holds buildings at all. */
const CELLS = 64;

/**
 * Return the usual way from one unit to the next, as a share of the way around the Earth at the equator.
 *
 * Ground without any unit does not count: scenes may lie far apart. Infinity for less than two units.
 */
export function spacing(units: Pick<Units, "count" | "lon" | "lat" | "bounds">): number {
  if (!units.bounds) return Infinity;
  const [west, south, east, north] = units.bounds;
  const [left, top, right, bottom] = [mercatorX(west), mercatorY(north), mercatorX(east), mercatorY(south)];
  const [width, height] = [(right - left) / CELLS, (bottom - top) / CELLS];
  const held = new Uint8Array(CELLS * CELLS);
  let placed = 0;
  for (let unit = 0; unit < units.count; unit += 1) {
    const [lon, lat] = [units.lon[unit]!, units.lat[unit]!];
    if (!Number.isFinite(lon) || !Number.isFinite(lat)) continue;
    placed += 1;
    held[cell(mercatorX(lon) - left, width) + CELLS * cell(mercatorY(lat) - top, height)] = 1;
  }
  if (placed < 2) return Infinity;
  const cells = held.reduce((sum, one) => sum + one, 0);
  return Math.sqrt((cells * width * height) / placed) || Infinity;
}

/** Return radius by zoom for units that are so far apart. */
export function radii(apart: number): [zoom: number, radius: number][] {
  return ALONE.map(([zoom, radius]) => {
    const way = apart * WORLD_PX * 2 ** zoom;
    return [zoom, Math.max(SMALLEST_PX, Math.min(radius, SHARE * way))];
  });
}

/** Return the paint of dots that are so far apart. */
export function dotPaint(apart: number): { radius: ExpressionSpecification; border: ExpressionSpecification } {
  const sizes = radii(apart);
  const borders = sizes.map(([zoom, radius]) => [zoom, radius < BORDERED_PX || zoom < 12 ? 0 : zoom < 14 ? 0.5 : 1]);
  return { radius: byZoom(sizes), border: byZoom(borders) };
}

function byZoom(stops: number[][]): ExpressionSpecification {
  return ["interpolate", ["linear"], ["zoom"], ...stops.flat()] as unknown as ExpressionSpecification;
}

function cell(way: number, size: number): number {
  return size > 0 ? Math.min(CELLS - 1, Math.max(0, Math.floor(way / size))) : 0;
}

function mercatorX(lon: number): number {
  return (lon + 180) / 360;
}

function mercatorY(lat: number): number {
  return (1 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / Math.PI) / 2;
}
