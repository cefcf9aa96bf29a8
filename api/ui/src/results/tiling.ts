/** Cuts units into vector tiles; runs in the worker that holds them. */

import { GeoJSONVT } from "@maplibre/geojson-vt";
import { fromGeojsonVt } from "@maplibre/vt-pbf";
import type { Feature } from "geojson";
import type { Units } from "./units";
import { VERDICTS } from "./verdicts";

/** Deeper in, a tile of this zoom is enlarged: a step of it is 4 cm of ground. */
export const DEEPEST = 18;

/** Layers of a tile: the units' own shapes, and one dot for each. */
export const SHAPES = "shapes";
export const DOTS = "dots";

export class Tiling {
  private readonly shapes: GeoJSONVT;
  private readonly dots: GeoJSONVT;

  constructor(features: readonly Feature[], units: Units) {
    const options = { maxZoom: DEEPEST, indexMaxZoom: 4, indexMaxPoints: 20_000, tolerance: 2, generateId: true };
    this.shapes = new GeoJSONVT({ type: "FeatureCollection", features: features.map(slim) }, options);
    const dots = units.geometry === "polygon" ? Array.from({ length: units.count }, (_, unit) => dot(units, unit)) : [];
    this.dots = new GeoJSONVT({ type: "FeatureCollection", features: dots }, options);
  }

  /** Return a tile with as much of each unit as painting needs: id, verdict, probability. */
  tile(z: number, x: number, y: number): Uint8Array {
    const layers = { [SHAPES]: this.shapes.getTile(z, x, y), [DOTS]: this.dots.getTile(z, x, y) };
    const filled = Object.entries(layers).filter(([, tile]) => tile !== null);
    return fromGeojsonVt(Object.fromEntries(filled) as Parameters<typeof fromGeojsonVt>[0], { version: 2, extent: 4096 });
  }
}

function slim({ geometry, properties }: Feature): Feature {
  return { type: "Feature", geometry, properties: { label: properties?.label, p_damaged: properties?.p_damaged ?? undefined } };
}

function dot(units: Units, unit: number): Feature {
  const p = units.p[unit]!;
  const place = [units.lon[unit]!, units.lat[unit]!];
  return {
    type: "Feature",
    properties: { label: VERDICTS[units.label[unit]!], p_damaged: Number.isNaN(p) ? undefined : p },
    // Ids are counted, so that a unit without a place must stand in the row as well.
    geometry: (place.every(Number.isFinite) ? { type: "Point", coordinates: place } : null) as Feature["geometry"],
  };
}
