/** One place for files: dropped, or picked; what it takes is said. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Role } from "../service/sending";
import { size } from "../words";

interface Kind {
  title: string;
  note: string;
  accept: string;
  many: boolean;
}

const VECTORS = ".gpkg,.geojson,.json,.parquet,.fgb,.zip,.csv";
const PICTURES = ".tif,.tiff,.png,.jpg,.jpeg";

const KINDS: Record<Role, Kind> = {
  image: {
    title: "Scene after the storm",
    note: "GeoTIFF or COG at 3 m or finer, PNG or JPEG; one or several",
    accept: PICTURES,
    many: true,
  },
  pre: {
    title: "Scene before the storm",
    note: "Optional: the same ground; several, and each scene takes the one that covers it",
    accept: PICTURES,
    many: true,
  },
  buildings: {
    title: "Footprints",
    note: "Optional: GeoPackage, GeoJSON, GeoParquet, FlatGeobuf or a zipped Shapefile; without them a grid is judged",
    accept: VECTORS,
    many: false,
  },
  exclude: {
    title: "Areas to leave out",
    note: "Optional: polygons or a raster mask, such as clouds",
    accept: `${VECTORS},${PICTURES}`,
    many: false,
  },
};

interface Field {
  role: Role;
  files: File[];
  onFiles: (files: File[]) => void;
}

export function FileField({ role, files, onFiles }: Field): JSX.Element {
  const kind = KINDS[role];
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  function take(list: FileList | null | undefined): void {
    const some = [...(list ?? [])];
    if (!some.length) return;
    const names = new Set(some.map((file) => file.name));
    onFiles(kind.many ? [...files.filter((file) => !names.has(file.name)), ...some] : some.slice(0, 1));
    if (input.current) input.current.value = "";
  }
  function drop(event: DragEvent): void {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer?.files);
  }

  return (
    <div
      class={`drop ${role}${over ? " over" : ""}${files.length ? " full" : ""}`}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <label for={`file-${role}`}>
        <span class="title">{kind.title}</span>
        <span class="note" id={`note-${role}`}>{kind.note}</span>
        <span class="pick" aria-hidden="true">{files.length ? (kind.many ? "Add more" : "Choose another") : "Drop here or choose"}</span>
      </label>
      <input
        ref={input}
        id={`file-${role}`}
        class="unseen"
        type="file"
        accept={kind.accept}
        multiple={kind.many}
        aria-describedby={`note-${role}`}
        onChange={(event) => take(event.currentTarget.files)}
      />
      {files.length ? (
        <ul aria-label={`Chosen: ${kind.title}`}>
          {files.map((file) => (
            <li key={file.name}>
              <span class="name" title={file.name}>{file.name}</span>
              <span class="note">{size(file.size)}</span>
              <button type="button" class="quiet" aria-label={`Remove ${file.name}`} onClick={() => onFiles(files.filter((one) => one !== file))}>×</button>
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}
