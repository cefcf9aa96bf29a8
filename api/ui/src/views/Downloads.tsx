/** All files of the result, and of each scene. */

import type { JSX } from "preact";
import type { Result } from "../results/result";

const MEANINGS: Record<string, string> = {
  "damage.gpkg": "GeoPackage with its QGIS style",
  "damage.geojson": "GeoJSON, longitude and latitude",
  "damage.parquet": "GeoParquet",
  "damage.csv": "table for a spreadsheet",
  "damage.tif": "P(damaged) as a raster",
  "report.html": "the report: one page, works offline",
  "summary.json": "counts and honest words",
  "run.json": "how it was made: options, hashes, versions",
};

export function Downloads({ result }: { result: Result }): JSX.Element {
  const said = result.job.result ?? {};
  const scenes = said.scenes ?? [];
  const single = scenes.length === 1;
  const files = said.files ?? Object.keys(MEANINGS);
  const own = files.filter((name) => name in MEANINGS);
  const tiles = [["TileJSON of the picture", "tiles/imagery/tilejson.json"], ["WMTS for QGIS", "tiles/WMTSCapabilities.xml"]];
  return (
    <section class="card" aria-labelledby="files-title">
      <h2 id="files-title">Files</h2>
      <ul class="files">
        {(single ? [...new Set([...own, ...(scenes[0]!.files ?? []).filter((name) => name in MEANINGS)])] : own).map((name) => (
          <File key={name} address={result.address(`results/${name}`)} name={name} />
        ))}
      </ul>
      {single ? null : scenes.map((scene) => (
        <details key={scene.stem}>
          <summary>{scene.name}</summary>
          <ul class="files">
            {(scene.files ?? Object.keys(MEANINGS)).map((name) => (
              <File key={name} address={result.address(`results/scenes/${encodeURIComponent(scene.stem)}/${name}`)} name={name} />
            ))}
          </ul>
        </details>
      ))}
      <p class="note">For GIS: {tiles.map(([title, path], at) => <span key={path}>{at ? " · " : ""}<a href={result.address(path!)}>{title}</a></span>)}</p>
    </section>
  );
}

function File({ address, name }: { address: string; name: string }): JSX.Element {
  const opens = name.endsWith(".html");
  return (
    <li>
      <a href={address} {...(opens ? { target: "_blank", rel: "noopener" } : { download: name })}>{name}</a>
      <span class="note"> {MEANINGS[name] ?? ""}</span>
    </li>
  );
}
