/** From GeoJSON to columns; runs in the worker that reads results. */

import type { Feature, FeatureCollection, Position } from "geojson";
import type { Units } from "./units";
import { NOT_JUDGED, VERDICTS } from "./verdicts";
import type { Verdict } from "./verdicts";

/** Return the columns of a result's `damage.geojson`. */
export function columns(collection: FeatureCollection): Units {
  const { features } = collection;
  const count = features.length;
  const units: Units = {
    count,
    ids: new Array<string>(count),
    p: new Float64Array(count).fill(NaN),
    label: new Uint8Array(count).fill(NOT_JUDGED),
    lon: new Float64Array(count).fill(NaN),
    lat: new Float64Array(count).fill(NaN),
    scene: new Uint16Array(count),
    scenes: [],
    geometry: geometryOf(features),
    kind: features[0]?.properties?.kind === "cell" ? "cell" : "building",
    bounds: null,
  };
  const codes = new Map(VERDICTS.map((verdict, code) => [verdict, code]));
  const scenes = new Map<string, number>();
  features.forEach((feature, unit) => {
    const said = feature.properties ?? {};
    units.ids[unit] = String(said.unit_id);
    units.p[unit] = typeof said.p_damaged === "number" ? said.p_damaged : NaN;
    units.label[unit] = codes.get(said.label as Verdict) ?? NOT_JUDGED;
    units.lon[unit] = typeof said.lon === "number" ? said.lon : NaN;
    units.lat[unit] = typeof said.lat === "number" ? said.lat : NaN;
    const scene = String(said.scene ?? "");
    if (!scenes.has(scene)) scenes.set(scene, scenes.size);
    units.scene[unit] = scenes.get(scene)!;
  });
  units.scenes = [...scenes.keys()];
  units.bounds = bounds(features);
  return units;
}

function geometryOf(features: Feature[]): "point" | "polygon" {
  const first = features.find((feature) => feature.geometry)?.geometry.type;
  return first === "Point" || first === "MultiPoint" ? "point" : "polygon";
}

/** Return the box around all geometries: west, south, east, north. */
function bounds(features: Feature[]): Units["bounds"] {
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { geometry } of features) {
    if (geometry && "coordinates" in geometry) widen(box, geometry.coordinates as Nested);
  }
  return box[0] <= box[2] ? box : null;
}

type Nested = Position | Nested[];

function widen(box: [number, number, number, number], place: Nested): void {
  if (typeof place[0] !== "number") {
    for (const inner of place as Nested[]) widen(box, inner);
    return;
  }
  const [lon, lat] = place as [number, number];
  box[0] = Math.min(box[0], lon);
  box[1] = Math.min(box[1], lat);
  box[2] = Math.max(box[2], lon);
  box[3] = Math.max(box[3], lat);
}
