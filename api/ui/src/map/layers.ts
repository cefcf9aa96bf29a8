/** The layers of the map and how they are painted: a threshold changes expressions, never data. */

import type { ExpressionSpecification, FilterSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import type { Colouring } from "../address";
import { DOTS, SHAPES } from "../results/tiling";
import { COLOURS, RAMP, VERDICTS } from "../results/verdicts";
import type { Rule, Verdict } from "../results/verdicts";
import type { Units } from "../results/units";
import { dotPaint, spacing } from "./dots";

/** Below this zoom buildings are dots: their walls would be smaller than a pixel. */
export const DOTS_BELOW = 14.5;
const HATCH = "hatch";
const BACKGROUND = "#20262c";
const CHOSEN = "#ffffff";
const ASKED = "#3f8cff";

const P: ExpressionSpecification = ["number", ["get", "p_damaged"], 0];
export const UNJUDGED: ExpressionSpecification = ["==", ["get", "label"], "not-judged"];

export interface Painting {
  rule: Rule | null;
  colouring: Colouring;
  hidden: readonly Verdict[];
  opacity: number;
}

export const EMPTY = { type: "FeatureCollection" as const, features: [] };

/** A style that asks nobody for glyphs, sprites or tiles. */
export function emptyStyle(): StyleSpecification {
  return {
    version: 8,
    sources: {},
    layers: [{ id: "background", type: "background", paint: { "background-color": BACKGROUND } }],
  };
}

/** Layers of units in drawing order; `dots` only where walls vanish at low zoom. */
export function unitLayers(units: Units): LayerSpecification[] {
  const { geometry, kind } = units;
  const dots = dotPaint(spacing(units));
  const circles = (id: string, layer: string, maxzoom: number): LayerSpecification => ({
    id,
    type: "circle",
    source: "units",
    "source-layer": layer,
    maxzoom,
    paint: {
      "circle-radius": dots.radius,
      "circle-stroke-width": dots.border,
      "circle-stroke-color": "#ffffff",
    },
  });
  if (geometry === "point") return [circles("units-dot", SHAPES, 24)];
  const minzoom = kind === "building" ? DOTS_BELOW : 0;
  const polygons: LayerSpecification[] = [
    { id: "units-fill", type: "fill", source: "units", "source-layer": SHAPES, minzoom, paint: { "fill-antialias": false } },
    {
      id: "units-hatch",
      type: "fill",
      source: "units",
      "source-layer": SHAPES,
      minzoom,
      filter: UNJUDGED,
      paint: { "fill-pattern": HATCH },
    },
    { id: "units-line", type: "line", source: "units", "source-layer": SHAPES, minzoom },
  ];
  return kind === "building" ? [circles("units-dot", DOTS, DOTS_BELOW), ...polygons] : polygons;
}

/** Layers above the units: labels, the selected unit, the area. */
export function overlayLayers(): LayerSpecification[] {
  return [
    { id: "shade", type: "fill", source: "shade", paint: { "fill-color": "#0b0e11", "fill-opacity": 0.55 } },
    { id: "area", type: "line", source: "area", paint: { "line-color": "#ffffff", "line-width": 2, "line-dasharray": [2, 1.5] } },
    {
      id: "labels",
      type: "circle",
      source: "labels",
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 12, ["match", ["get", "label"], "asked", 5, 3], 17, ["match", ["get", "label"], "asked", 11, 6]],
        "circle-color": ["match", ["get", "label"], "damaged", COLOURS.damaged, "undamaged", COLOURS.undamaged, "rgba(0,0,0,0)"],
        "circle-stroke-width": ["interpolate", ["linear"], ["zoom"], 12, 1, 17, 2.5],
        "circle-stroke-color": ["match", ["get", "label"], "asked", ASKED, CHOSEN],
      },
    },
    { id: "selected-case", type: "line", source: "selected", paint: { "line-color": "#000000", "line-width": 6, "line-opacity": 0.6 } },
    { id: "selected", type: "line", source: "selected", paint: { "line-color": CHOSEN, "line-width": 3 } },
    {
      id: "selected-ring",
      type: "circle",
      source: "selected",
      filter: ["==", ["geometry-type"], "Point"],
      paint: {
        "circle-radius": 14,
        "circle-color": "rgba(0,0,0,0)",
        "circle-stroke-width": 3,
        "circle-stroke-color": CHOSEN,
      },
    },
  ];
}

/** The verdict on a unit: the file's word, or by the reader's rule. */
export function verdictExpression(rule: Rule | null): ExpressionSpecification {
  if (!rule) return ["get", "label"];
  const [low, high] = rule.band;
  const doubtful: ExpressionSpecification = ["all", [">", P, low], ["<", P, high]];
  return ["case", UNJUDGED, "not-judged", doubtful, "uncertain", [">=", P, rule.threshold], "damaged", "undamaged"];
}

/** Something by verdict, in the order of VERDICTS. */
function byVerdict(rule: Rule | null, values: readonly (string | number)[]): ExpressionSpecification {
  const pairs = VERDICTS.slice(0, 3).flatMap((verdict, code) => [verdict, values[code]!]);
  return ["match", verdictExpression(rule), ...pairs, values[3]!] as unknown as ExpressionSpecification;
}

/** Colour of a unit's outline. */
export function verdictColour(rule: Rule | null): ExpressionSpecification {
  return byVerdict(rule, VERDICTS.map((verdict) => COLOURS[verdict]));
}

/** Colour of a unit's inside. */
export function insideColour({ rule, colouring }: Painting): ExpressionSpecification {
  if (colouring === "verdict") return verdictColour(rule);
  const ramp = ["interpolate", ["linear"], P, ...RAMP.flat()] as unknown as ExpressionSpecification;
  return ["case", UNJUDGED, COLOURS["not-judged"], ramp];
}

/** All paint that depends on the reader's choices, by layer and property. */
export function paint(painting: Painting): [layer: string, property: string, value: unknown][] {
  const { rule, opacity } = painting;
  const inside = insideColour(painting);
  return [
    ["units-fill", "fill-color", inside],
    ["units-fill", "fill-opacity", opacity * 0.85],
    ["units-hatch", "fill-opacity", opacity],
    ["units-line", "line-color", verdictColour(rule)],
    ["units-line", "line-width", byVerdict(rule, [2.6, 1.8, 1.1, 1])],
    ["units-line", "line-opacity", Math.min(1, 0.35 + opacity)],
    ["units-dot", "circle-color", inside],
    ["units-dot", "circle-opacity", Math.min(1, 0.2 + opacity)],
    ["units-dot", "circle-stroke-opacity", opacity],
  ];
}

/** Which units are drawn at all. */
export function visible({ rule, hidden }: Painting): FilterSpecification | null {
  if (!hidden.length) return null;
  const seen = VERDICTS.filter((verdict) => !hidden.includes(verdict));
  return ["in", verdictExpression(rule), ["literal", seen]] as unknown as FilterSpecification;
}

/** The pattern of what was not judged, 8 px of diagonal lines. */
export function hatch(): { name: string; width: number; height: number; data: Uint8Array } {
  const side = 8;
  const data = new Uint8Array(side * side * 4);
  for (let at = 0; at < side * side; at += 1) {
    const diagonal = ((at % side) + Math.floor(at / side)) % side < 2;
    data.set(diagonal ? [138, 143, 152, 255] : [0, 0, 0, 0], at * 4);
  }
  return { name: HATCH, width: side, height: side, data };
}
