/** The map of one result: imagery, units, what is selected, labelled and drawn around. */

import { AttributionControl, Map as MapLibre, NavigationControl, ScaleControl, setWorkerUrl } from "maplibre-gl";
import type { FilterSpecification, GeoJSONSource, LngLatBoundsLike } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Feature, FeatureCollection } from "geojson";
import type { Place } from "../address";
import type { Area, Units } from "../results/units";
import type { Reader } from "../results/reading";
import { EMPTY, UNJUDGED, emptyStyle, hatch, overlayLayers, paint, unitLayers, visible } from "./layers";
import type { Painting } from "./layers";
import { unitSource } from "./unit_source";

// A file of our own address, so that the policy of the page may stay `worker-src 'self'`.
setWorkerUrl(workerUrl);

const PAINT_EVERY_MS = 90;
/** However long the map takes to lay out, the reader sees something this often. */
const LONGEST_WAIT_MS = 1_500;
const PAINTED = ["units-fill", "units-hatch", "units-line", "units-dot"];
const REACH_PX = 5;
/** What `hatch` is drawn over must not be asked twice for one unit. */
const CLICKABLE = ["units-dot", "units-fill"];

export type Box = [number, number, number, number];

/** XYZ tiles of the service, as its TileJSON describes them. */
export interface Tiles {
  url: string;
  bounds: Box;
  minzoom: number;
  maxzoom: number;
}

export class DamageMap {
  readonly map: MapLibre;
  private painting: Painting | null = null;
  private paintTicket = 0;
  private painted = "";
  private paintedAt = 0;

  constructor(container: HTMLElement, camera: Place["camera"], calm: boolean) {
    this.map = new MapLibre({
      container,
      style: emptyStyle(),
      center: camera ? [camera.lon, camera.lat] : [0, 0],
      zoom: camera?.zoom ?? 1,
      maxZoom: 22,
      maxPitch: 0,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: false,
      fadeDuration: calm ? 0 : 150,
      refreshExpiredTiles: false,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-left");
    this.map.addControl(new ScaleControl({ unit: "metric" }), "bottom-right");
    this.map.addControl(new AttributionControl({ compact: true, customAttribution: "Picture: as sent · Map: MapLibre" }), "bottom-right");
    this.map.getCanvas().setAttribute("aria-label", "Map of verdicts. Arrow keys move, plus and minus zoom. The list holds the same in words.");
  }

  /** Move to a place that a link names. */
  goTo(camera: NonNullable<Place["camera"]>): void {
    const { lng, lat } = this.map.getCenter();
    const there = Math.abs(lng - camera.lon) + Math.abs(lat - camera.lat) < 1e-5 && Math.abs(this.map.getZoom() - camera.zoom) < 0.02;
    if (!there && !this.map.isMoving()) this.map.jumpTo({ center: [camera.lon, camera.lat], zoom: camera.zoom });
  }

  /** Wait until layers may be added. */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      if (this.map.isStyleLoaded()) resolve();
      else this.map.once("load", () => resolve());
    });
  }

  /** Lay a picture under everything else, or take it away. */
  setPicture(tiles: Tiles | null): void {
    if (this.map.getLayer("picture")) this.map.removeLayer("picture");
    if (this.map.getSource("picture")) this.map.removeSource("picture");
    if (!tiles) return;
    this.map.addSource("picture", {
      type: "raster",
      tiles: [tiles.url],
      tileSize: 256,
      bounds: tiles.bounds,
      minzoom: tiles.minzoom,
      maxzoom: tiles.maxzoom,
    });
    const above = this.map.getStyle().layers[1]?.id;
    this.map.addLayer({ id: "picture", type: "raster", source: "picture", paint: { "raster-fade-duration": 0 } }, above);
  }

  /** Add the layers of all units. */
  addUnits(units: Units, reader: Reader): void {
    const { name, ...pattern } = hatch();
    this.map.addImage(name, pattern);
    this.map.addSource("units", unitSource(reader));
    for (const layer of unitLayers(units)) this.map.addLayer(layer);
    for (const source of ["shade", "area", "labels", "selected"]) {
      this.map.addSource(source, { type: "geojson", data: EMPTY });
    }
    for (const layer of overlayLayers()) this.map.addLayer(layer);
  }

  /** Paint by the reader's choices, a few times a second while a slider moves; false where nothing changes. */
  paint(painting: Painting): boolean {
    this.painting = painting;
    if (this.wanted() === this.painted) return false;
    if (!this.paintTicket) this.paintTicket = window.setTimeout(() => this.paintNow(), this.painted ? PAINT_EVERY_MS : 0);
    return true;
  }

  /** Whether a change is still to be painted. */
  get unpainted(): boolean {
    return this.paintTicket !== 0;
  }

  /** What decides how the map is painted, as text. */
  private wanted(): string {
    return JSON.stringify([this.painting, PAINTED.filter((layer) => this.inSight(layer))]);
  }

  /** Paint what has come into sight. */
  repaint(): void {
    if (this.painting) this.paint(this.painting);
  }

  /** Every change makes the map lay out its tiles again: one at a time, and no layer that is out of sight. */
  private paintNow(): void {
    this.paintTicket = 0;
    const inSight = PAINTED.filter((layer) => this.inSight(layer));
    const wanted = this.wanted();
    // The event `idle` tells that a change is drawn, even one that was taken back meanwhile.
    this.map.triggerRepaint();
    if (!this.painting || wanted === this.painted) return;
    if (this.painted && !this.map.areTilesLoaded() && Date.now() - this.paintedAt < LONGEST_WAIT_MS) {
      this.paint(this.painting);
      return;
    }
    this.painted = wanted;
    this.paintedAt = Date.now();
    const filter = visible(this.painting);
    for (const [layer, property, value] of paint(this.painting)) {
      if (inSight.includes(layer)) this.map.setPaintProperty(layer, property as never, value as never);
    }
    for (const layer of inSight) if (layer !== "units-hatch") this.map.setFilter(layer, filter);
    const hatched = this.painting.hidden.includes("not-judged") ? ["boolean", false] : UNJUDGED;
    if (inSight.includes("units-hatch")) this.map.setFilter("units-hatch", hatched as FilterSpecification);
  }

  private inSight(id: string): boolean {
    const layer = this.map.getLayer(id);
    const zoom = this.map.getZoom();
    return layer !== undefined && (layer.minzoom ?? 0) <= zoom + 1 && zoom - 1 <= (layer.maxzoom ?? 24);
  }

  /** Show or hide all units. */
  showUnits(shown: boolean): void {
    for (const id of PAINTED) {
      if (this.map.getLayer(id)) this.map.setLayoutProperty(id, "visibility", shown ? "visible" : "none");
    }
  }

  /** Return the unit at a point of the screen, or -1. */
  unitAt(x: number, y: number): number {
    const layers = CLICKABLE.filter((id) => this.map.getLayer(id));
    for (const reach of [0, REACH_PX]) {
      const found = this.map.queryRenderedFeatures([[x - reach, y - reach], [x + reach, y + reach]], { layers });
      if (found.length) return Number(found[0]!.id);
    }
    return -1;
  }

  select(feature: Feature | null): void {
    this.set("selected", feature ? { type: "FeatureCollection", features: [feature] } : EMPTY);
  }

  /** Mark labelled and asked-for units. */
  mark(units: Units, labels: ReadonlyMap<number, string>): void {
    const features = [...labels].map(([unit, label]) => point(units, unit, { label }));
    this.set("labels", { type: "FeatureCollection", features: features.filter((one) => one !== null) });
  }

  /** Draw an area, and shade all that lies outside; half-drawn ones without shade. */
  setArea(area: Area | null, whole = true): void {
    const ring = area && area.length > 1 ? [...area, area[0]!].map(([x, y]) => [x, y]) : null;
    this.set("area", ring ? collection({ type: "LineString", coordinates: ring }) : EMPTY);
    const world = [[-180, -85], [180, -85], [180, 85], [-180, 85], [-180, -85]];
    this.set("shade", ring && whole ? collection({ type: "Polygon", coordinates: [world, ring] }) : EMPTY);
  }

  fit(box: LngLatBoundsLike, calm: boolean): void {
    this.map.fitBounds(box, { padding: 24, animate: !calm, maxZoom: 19 });
  }

  private set(source: string, data: FeatureCollection): void {
    this.map.getSource<GeoJSONSource>(source)?.setData(data);
  }

  remove(): void {
    window.clearTimeout(this.paintTicket);
    this.map.remove();
  }
}

function collection(geometry: Feature["geometry"]): FeatureCollection {
  return { type: "FeatureCollection", features: [{ type: "Feature", properties: {}, geometry }] };
}

function point(units: Units, unit: number, properties: Record<string, unknown>): Feature | null {
  const coordinates = [units.lon[unit]!, units.lat[unit]!];
  if (!coordinates.every(Number.isFinite)) return null;
  return { type: "Feature", properties, geometry: { type: "Point", coordinates } };
}
