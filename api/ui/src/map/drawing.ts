/** Draw an area on the map: a rectangle by dragging, a polygon by clicks. */

import type { Map as MapLibre, MapMouseEvent, MapTouchEvent } from "maplibre-gl";
import type { Area } from "../results/units";

export type Shape = "rectangle" | "polygon";

export interface Drawing {
  /** The area so far. */
  onChange: (area: Area) => void;
  /** The whole area, or null where it was given up. */
  onDone: (area: Area | null) => void;
}

type Corner = readonly [number, number];
type Pressed = MapMouseEvent | MapTouchEvent;

/** Begin to draw; returns what gives it up. */
export function draw(map: MapLibre, shape: Shape, drawing: Drawing): () => void {
  return shape === "rectangle" ? drawRectangle(map, drawing) : drawPolygon(map, drawing);
}

function drawRectangle(map: MapLibre, { onChange, onDone }: Drawing): () => void {
  let start: Corner | null = null;
  let area: Area | null = null;

  function press(event: Pressed): void {
    event.preventDefault();
    start = [event.lngLat.lng, event.lngLat.lat];
  }
  function move(event: Pressed): void {
    if (!start) return;
    const [x, y] = [event.lngLat.lng, event.lngLat.lat];
    area = [start, [x, start[1]], [x, y], [start[0], y]];
    onChange(area);
  }
  function release(): void {
    if (area) end(area);
    start = null;
  }
  const end = ending(map, onDone, () => {
    map.dragPan.enable();
    map.off("mousedown", press).off("mousemove", move).off("mouseup", release);
    map.off("touchstart", press).off("touchmove", move).off("touchend", release);
  });
  map.dragPan.disable();
  map.on("mousedown", press);
  map.on("mousemove", move);
  map.on("mouseup", release);
  map.on("touchstart", press);
  map.on("touchmove", move);
  map.on("touchend", release);
  return () => end(null);
}

function drawPolygon(map: MapLibre, { onChange, onDone }: Drawing): () => void {
  const corners: Corner[] = [];

  function add(event: MapMouseEvent): void {
    corners.push([event.lngLat.lng, event.lngLat.lat]);
    onChange(corners);
  }
  function move(event: MapMouseEvent): void {
    if (corners.length) onChange([...corners, [event.lngLat.lng, event.lngLat.lat]]);
  }
  function close(event?: MapMouseEvent): void {
    event?.preventDefault();
    // A double click has set its corner twice.
    if (event) corners.pop();
    if (corners.length >= 3) end([...corners]);
  }
  const end = ending(map, onDone, () => {
    map.off("click", add).off("mousemove", move).off("dblclick", close);
    window.setTimeout(() => map.doubleClickZoom.enable(), 300);
  }, () => close());
  map.doubleClickZoom.disable();
  map.on("click", add);
  map.on("mousemove", move);
  map.on("dblclick", close);
  return () => end(null);
}

/** Return what ends a drawing once: Escape gives it up, Enter closes it. */
function ending(map: MapLibre, onDone: Drawing["onDone"], tidy: () => void, onEnter?: () => void): (area: Area | null) => void {
  let ended = false;
  function key(event: KeyboardEvent): void {
    if (event.key === "Escape") end(null);
    if (event.key === "Enter") onEnter?.();
  }
  function end(area: Area | null): void {
    if (ended) return;
    ended = true;
    tidy();
    map.getCanvas().style.cursor = "";
    window.removeEventListener("keydown", key);
    onDone(area);
  }
  window.addEventListener("keydown", key);
  map.getCanvas().style.cursor = "crosshair";
  return end;
}
