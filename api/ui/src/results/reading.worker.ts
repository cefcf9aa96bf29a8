/** Reads `damage.geojson` beside the page's own thread, and keeps it: for tiles and single units. */

import type { Feature, FeatureCollection } from "geojson";
import { columns } from "./columns";
import { Tiling } from "./tiling";

export type Asked = { read: string } | { describe: number } | { tile: [z: number, x: number, y: number] };
export interface Question {
  number: number;
  asked: Asked;
}
export type Answer = { number: number; value: unknown } | { number: number; refused: number; text: string };

let features: Feature[] = [];
let tiling: Tiling | null = null;

async function read(number: number, url: string): Promise<void> {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) {
    postMessage({ number, refused: answer.status, text: await answer.text() });
    return;
  }
  const collection = (await answer.json()) as FeatureCollection;
  features = collection.features;
  const units = columns(collection);
  tiling = new Tiling(features, units);
  const arrays = [units.p, units.label, units.lon, units.lat, units.scene];
  postMessage({ number, value: units }, { transfer: arrays.map((array) => array.buffer as ArrayBuffer) });
}

addEventListener("message", (event: MessageEvent<Question>) => {
  const { number, asked } = event.data;
  if ("read" in asked) {
    read(number, asked.read).catch((error: unknown) => postMessage({ number, refused: 0, text: String(error) }));
  } else if ("describe" in asked) {
    postMessage({ number, value: features[asked.describe] });
  } else {
    const tile = tiling?.tile(...asked.tile).slice() ?? new Uint8Array();
    postMessage({ number, value: tile.buffer }, { transfer: [tile.buffer as ArrayBuffer] });
  }
});
