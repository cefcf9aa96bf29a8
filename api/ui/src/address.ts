/** What the page shows, as the part of its address after `#`: a link reopens the same view. */

import type { Area, Order } from "./results/units";
import { VERDICTS } from "./results/verdicts";
import type { Verdict } from "./results/verdicts";

export type Colouring = "probability" | "verdict";

export interface Place {
  page: "start" | "jobs" | "job";
  job: string | null;
  /** File name of the one scene that is looked at, of several. */
  scene: string | null;
  camera: { lon: number; lat: number; zoom: number } | null;
  /** The reader's own threshold; null is the model's. */
  threshold: number | null;
  hidden: readonly Verdict[];
  area: Area | null;
  unit: string | null;
  order: Order;
  colouring: Colouring;
  /** Where the swipe bar stands, 0 to 1; null where it is off. */
  swipe: number | null;
  /** An earlier assessment of the same units that this one is compared with. */
  versus: string | null;
}

export const NOWHERE: Place = {
  page: "start",
  job: null,
  scene: null,
  camera: null,
  threshold: null,
  hidden: [],
  area: null,
  unit: null,
  order: "damaged",
  colouring: "probability",
  swipe: null,
  versus: null,
};

const ORDERS: readonly string[] = ["damaged", "doubt", "undamaged", "file"];

/** Return the hash of a place, `#` included; what is as usual is left out. */
export function written(place: Place): string {
  if (place.page === "jobs") return "#jobs";
  if (place.page === "start" || !place.job) return "#";
  const parts = [["job", place.job]];
  if (place.scene) parts.push(["scene", place.scene]);
  if (place.camera) {
    const { lat, lon, zoom } = place.camera;
    parts.push(["at", `${lat.toFixed(6)},${lon.toFixed(6)},${zoom.toFixed(2)}`]);
  }
  if (place.threshold !== null) parts.push(["t", String(Number(place.threshold.toFixed(4)))]);
  if (place.hidden.length) parts.push(["hide", place.hidden.join(",")]);
  if (place.area) parts.push(["area", place.area.map(([x, y]) => `${x.toFixed(6)},${y.toFixed(6)}`).join(";")]);
  if (place.unit) parts.push(["unit", place.unit]);
  if (place.order !== "damaged") parts.push(["order", place.order]);
  if (place.colouring !== "probability") parts.push(["colour", place.colouring]);
  if (place.swipe !== null) parts.push(["swipe", place.swipe.toFixed(3)]);
  if (place.versus) parts.push(["versus", place.versus]);
  return `#${parts.map(([name, value]) => `${name}=${encodeURIComponent(value!).replace(/%2C/g, ",").replace(/%3B/g, ";")}`).join("&")}`;
}

/** Return the place that a hash names; what makes no sense in it is passed over. */
export function read(hash: string): Place {
  const text = hash.replace(/^#/, "");
  if (text === "jobs") return { ...NOWHERE, page: "jobs" };
  const said = new URLSearchParams(text.replace(/\+/g, "%2B"));
  const job = jobId(said.get("job"));
  if (!job) return NOWHERE;
  return {
    page: "job",
    job,
    scene: said.get("scene"),
    camera: camera(said.get("at")),
    threshold: within(said.get("t"), 0, 1),
    hidden: VERDICTS.filter((verdict) => said.get("hide")?.split(",").includes(verdict)),
    area: area(said.get("area")),
    unit: said.get("unit"),
    order: ORDERS.includes(said.get("order") ?? "") ? (said.get("order") as Order) : "damaged",
    colouring: said.get("colour") === "verdict" ? "verdict" : "probability",
    swipe: within(said.get("swipe"), 0, 1),
    versus: jobId(said.get("versus")),
  };
}

/** Ids end up in addresses of requests, so that nothing else may pass for one. */
function jobId(text: string | null): string | null {
  return text && /^[0-9A-Za-z-]{1,64}$/.test(text) ? text : null;
}

function within(text: string | null, low: number, high: number): number | null {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= low && value <= high ? value : null;
}

function camera(text: string | null): Place["camera"] {
  const [lat, lon, zoom] = (text ?? "").split(",");
  const place = { lat: within(lat ?? null, -90, 90), lon: within(lon ?? null, -180, 180), zoom: within(zoom ?? null, 0, 24) };
  return place.lat === null || place.lon === null || place.zoom === null
    ? null
    : { lat: place.lat, lon: place.lon, zoom: place.zoom };
}

function area(text: string | null): Area | null {
  if (!text) return null;
  const ring = text.split(";").map((pair) => pair.split(",").map(Number));
  const whole = ring.length >= 3 && ring.every((pair) => pair.length === 2 && pair.every(Number.isFinite));
  return whole ? ring.map(([lon, lat]) => [lon!, lat!] as const) : null;
}
