/** All units of a result as columns, so that a hundred thousand are counted between two frames. */

import type { Rule } from "./verdicts";
import { NOT_JUDGED, VERDICTS, logit, verdictCode } from "./verdicts";

export interface Units {
  count: number;
  ids: string[];
  /** P(damaged), NaN where nothing could be judged. */
  p: Float64Array;
  /** Verdict in the files, its place in VERDICTS. */
  label: Uint8Array;
  lon: Float64Array;
  lat: Float64Array;
  /** Place of the unit's scene in `scenes`. */
  scene: Uint16Array;
  scenes: string[];
  geometry: "point" | "polygon";
  kind: "building" | "cell";
  /** West, south, east, north; null without a single place. */
  bounds: [number, number, number, number] | null;
}

/** A closed ring of longitude and latitude, without its last point. */
export type Area = readonly (readonly [number, number])[];

export type Order = "damaged" | "doubt" | "undamaged" | "file";

export interface Choice {
  area: Area | null;
  scene: number | null;
}

export interface Tally {
  /** By code of verdict. */
  counts: number[];
  total: number;
}

/** Return the verdict of each unit: that of the files, or at a threshold of the reader's own. */
export function verdicts(units: Units, rule: Rule | null): Uint8Array {
  if (!rule) return units.label;
  const codes = new Uint8Array(units.count);
  for (let unit = 0; unit < units.count; unit += 1) {
    const judged = units.label[unit] !== NOT_JUDGED;
    codes[unit] = judged ? verdictCode(units.p[unit]!, rule) : NOT_JUDGED;
  }
  return codes;
}

/** Return which units lie inside the chosen area and scene, in the order of the file. */
export function chosen(units: Units, choice: Choice): Uint32Array {
  const inside = new Uint32Array(units.count);
  let found = 0;
  for (let unit = 0; unit < units.count; unit += 1) {
    if (choice.scene !== null && units.scene[unit] !== choice.scene) continue;
    if (choice.area && !holds(choice.area, units.lon[unit]!, units.lat[unit]!)) continue;
    inside[found] = unit;
    found += 1;
  }
  return inside.subarray(0, found);
}

/** Count units by verdict. */
export function tally(codes: Uint8Array, members: Uint32Array): Tally {
  const counts = VERDICTS.map(() => 0);
  for (const unit of members) counts[codes[unit]!]! += 1;
  return { counts, total: members.length };
}

/** Return units in the order of a list; what was not judged comes last. */
export function sorted(units: Units, members: Uint32Array, order: Order, threshold: number): Uint32Array {
  if (order === "file") return members;
  const keys = new Float64Array(units.count);
  const middle = logit(threshold);
  for (const unit of members) {
    const p = units.p[unit]!;
    if (Number.isNaN(p) || units.label[unit] === NOT_JUDGED) keys[unit] = Infinity;
    else if (order === "doubt") keys[unit] = Math.abs(logit(p) - middle);
    else keys[unit] = order === "damaged" ? -p : p;
  }
  return members.slice().sort((one, other) => keys[one]! - keys[other]! || one - other);
}

/** Return the listed units whose verdict is not hidden. */
export function shown(order: Uint32Array, codes: Uint8Array, hidden: ReadonlySet<number>): Uint32Array {
  return hidden.size ? order.filter((unit) => !hidden.has(codes[unit]!)) : order;
}

/** Whether an area holds a place; units without a place lie in none (even-odd rule). */
export function holds(area: Area, lon: number, lat: number): boolean {
  let inside = false;
  for (let at = 0, before = area.length - 1; at < area.length; before = at, at += 1) {
    const [x, y] = area[at]!;
    const [px, py] = area[before]!;
    if (y > lat !== py > lat && lon < ((px - x) * (lat - y)) / (py - y) + x) inside = !inside;
  }
  return inside;
}
