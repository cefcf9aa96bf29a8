/** Reads `damage.geojson` beside the page's own thread, and keeps it to describe single units. */

import type { Feature, FeatureCollection } from "geojson";
import { columns } from "./columns";

export type Question = { read: string } | { describe: number };

let features: Feature[] = [];

async function read(url: string): Promise<void> {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) {
    postMessage({ refused: answer.status, text: await answer.text() });
    return;
  }
  const collection = (await answer.json()) as FeatureCollection;
  features = collection.features;
  const units = columns(collection);
  const arrays = [units.p, units.label, units.lon, units.lat, units.scene];
  postMessage({ units }, { transfer: arrays.map((array) => array.buffer as ArrayBuffer) });
}

addEventListener("message", (event: MessageEvent<Question>) => {
  const question = event.data;
  if ("read" in question) {
    read(question.read).catch((error: unknown) => postMessage({ refused: 0, text: String(error) }));
  } else {
    postMessage({ unit: question.describe, feature: features[question.describe] });
  }
});
