import { expect, test } from "vitest";
import type { Feature, FeatureCollection } from "geojson";
import { columns } from "../src/results/columns";
import { chosen, holds, shown, sorted, tally, verdicts } from "../src/results/units";
import { ruleAt, verdictCode } from "../src/results/verdicts";

function unit(unit_id: string, label: string, p_damaged: number | null, lon: number, scene = "a.tif"): Feature {
  return {
    type: "Feature",
    properties: { unit_id, kind: "building", label, p_damaged, lon, lat: 0.5, scene },
    geometry: { type: "Polygon", coordinates: [[[lon, 0], [lon + 0.1, 0], [lon, 1], [lon, 0]]] },
  };
}

const COLLECTION: FeatureCollection = {
  type: "FeatureCollection",
  features: [
    unit("a", "undamaged", 0.1, 0),
    unit("b", "damaged", 0.9, 1),
    unit("c", "uncertain", 0.45, 2, "b.tif"),
    unit("d", "not-judged", null, 3, "b.tif"),
    unit("e", "damaged", 0.6, 4),
  ],
};
const UNITS = columns(COLLECTION);
const ALL = chosen(UNITS, { area: null, scene: null });
const OWN = { threshold: 0.5, band: [0.4, 0.55] as const };

test("columns keep ids, scenes, kinds and the box around all walls", () => {
  expect(UNITS.ids).toEqual(["a", "b", "c", "d", "e"]);
  expect(UNITS.scenes).toEqual(["a.tif", "b.tif"]);
  expect([UNITS.kind, UNITS.geometry]).toEqual(["building", "polygon"]);
  expect(UNITS.bounds).toEqual([0, 0, 4.1, 1]);
  expect(UNITS.p[3]).toBeNaN();
});

test("without a threshold of the reader's own the counts are those of the files", () => {
  expect(tally(verdicts(UNITS, null), ALL)).toEqual({ counts: [2, 1, 1, 1], total: 5 });
});

test("at the model's own rule the counts are those of the files as well", () => {
  expect(verdicts(UNITS, ruleAt(OWN, 0.5))).toEqual(UNITS.label);
});

test("a threshold inside the band keeps the band, one beyond it has none", () => {
  expect(ruleAt(OWN, 0.45).band).toEqual([0.4, 0.55]);
  expect(tally(verdicts(UNITS, ruleAt(OWN, 0.7)), ALL).counts).toEqual([1, 0, 3, 1]);
  expect(tally(verdicts(UNITS, ruleAt(OWN, 0)), ALL).counts).toEqual([4, 0, 0, 1]);
});

test("the threshold itself is damaged, and the ends of the band are not in doubt", () => {
  const rule = { threshold: 0.5, band: [0.5, 0.5] as const };
  expect([0.4999, 0.5].map((p) => verdictCode(p, rule))).toEqual([2, 0]);
  expect([0.4, 0.41, 0.55].map((p) => verdictCode(p, OWN))).toEqual([2, 1, 0]);
});

test("the list goes from the surest to what was not judged", () => {
  const ids = (order: Parameters<typeof sorted>[2]) => Array.from(sorted(UNITS, ALL, order, 0.5), (one) => UNITS.ids[one]);
  expect(ids("damaged")).toEqual(["b", "e", "c", "a", "d"]);
  expect(ids("undamaged")).toEqual(["a", "c", "e", "b", "d"]);
  expect(ids("doubt")).toEqual(["c", "e", "a", "b", "d"]);
  expect(ids("file")).toEqual(["a", "b", "c", "d", "e"]);
});

test("an area and a scene leave only what lies in them", () => {
  const area = [[0.5, 0], [2.5, 0], [2.5, 1], [0.5, 1]] as const;
  expect(Array.from(chosen(UNITS, { area, scene: null }))).toEqual([1, 2]);
  expect(Array.from(chosen(UNITS, { area, scene: 1 }))).toEqual([2]);
  expect(Array.from(shown(ALL, UNITS.label, new Set([0, 3])))).toEqual([0, 2]);
});

test("an area with a notch does not hold what lies in the notch", () => {
  const notched = [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]] as const;
  expect([holds(notched, 2, 0.5), holds(notched, 2, 3), holds(notched, NaN, 1)]).toEqual([true, false, false]);
});

test("a hundred thousand units are counted within a frame of a slow screen", () => {
  const count = 100_000;
  const many = { ...UNITS, count, p: new Float64Array(count).map((_, at) => at / count), label: new Uint8Array(count) };
  const members = Uint32Array.from({ length: count }, (_, at) => at);
  tally(verdicts(many, ruleAt(OWN, 0.3)), members);
  const before = performance.now();
  const { counts } = tally(verdicts(many, ruleAt(OWN, 0.7)), members);
  expect(counts).toEqual([30_000, 0, 70_000, 0]);
  expect(performance.now() - before).toBeLessThan(100);
});
