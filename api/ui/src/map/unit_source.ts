/** The units as a vector source: its tiles come from the worker that holds them, not from the network. */

import { addProtocol } from "maplibre-gl";
import type { VectorSourceSpecification } from "maplibre-gl";
import type { Reader } from "../results/reading";
import { DEEPEST } from "../results/tiling";

const SCHEME = "units";
let reader: Reader | null = null;

addProtocol(SCHEME, async ({ url }) => {
  const [z, x, y] = url.slice(`${SCHEME}://`.length).split("/").map(Number);
  return { data: reader ? await reader.tile(z!, x!, y!) : new ArrayBuffer(0) };
});

/** Return the source of a result's units; the page shows one result at a time. */
export function unitSource(of: Reader): VectorSourceSpecification {
  reader = of;
  return { type: "vector", tiles: [`${SCHEME}://{z}/{x}/{y}`], minzoom: 0, maxzoom: DEEPEST };
}
