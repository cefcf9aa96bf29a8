/** The pictures of a job as map tiles. */

import { ask, jobAddress } from "../service/requests";
import type { Box, Tiles } from "./damage_map";

export type Picture = "imagery" | "pre";

interface TileJson {
  tiles: string[];
  bounds?: Box;
  minzoom?: number;
  maxzoom?: number;
}

/** Return where a picture's tiles are, or null where the job has no such picture. */
export async function pictureTiles(job: string, picture: Picture, stem: string | null): Promise<Tiles | null> {
  const scene = stem === null ? "" : `?scene=${encodeURIComponent(stem)}`;
  try {
    const said = await ask<TileJson>(jobAddress(job, `tiles/${picture}/tilejson.json${scene}`));
    const ending = said.tiles[0]?.match(/\.(webp|jpg|png)/)?.[1] ?? "png";
    return {
      // The address in the document is the service's own, which a proxy may know under another name.
      url: `${jobAddress(job, `tiles/${picture}/tiles/WebMercatorQuad/`)}{z}/{x}/{y}.${ending}${scene}`,
      bounds: said.bounds ?? [-180, -85, 180, 85],
      minzoom: said.minzoom ?? 0,
      maxzoom: said.maxzoom ?? 20,
    };
  } catch {
    return null;
  }
}
