/** The map in the page: kept in step with the address, asked by clicks and keys. */

import { computed, effect, useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Labelling } from "../labelling";
import { DamageMap } from "../map/damage_map";
import type { Box, Tiles } from "../map/damage_map";
import { drawingHint, opacity, unitsShown } from "../map/display";
import { pictureTiles } from "../map/tiles";
import type { Result } from "../results/result";
import type { Units } from "../results/units";
import { look, place } from "../state";
import { calm } from "../theme";
import { HoverTip } from "./HoverTip";
import { Swipe } from "./Swipe";

interface View {
  result: Result;
  labelling: Labelling;
  map: Signal<DamageMap | null>;
}

export function MapView({ result, labelling, map }: View): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const before = useSignal<Tiles | null>(null);
  const failed = useSignal("");
  /** Whether all that can be seen is drawn; said in the document for whoever waits for it. */
  const drawn = useSignal(false);
  const units = result.units.value;

  useEffect(() => {
    if (!units || !frame.current) return undefined;
    let made: DamageMap;
    try {
      made = new DamageMap(frame.current, place.value.camera, calm());
    } catch {
      failed.value = "This browser draws no maps (WebGL 2 is off). List, counts and files work without.";
      return undefined;
    }
    const stops: (() => void)[] = [() => made.remove()];
    let gone = false;
    void made.ready().then(async () => {
      if (gone) return;
      made.addUnits(units, result.reader);
      made.map.on("idle", () => (drawn.value = map.value === made && !made.unpainted));
      made.map.on("movestart", () => (drawn.value = false));
      stops.push(...inStep(made, result, labelling, () => (drawn.value = false)));
      const stem = stemOf(result);
      const [picture, pre] = await Promise.all([
        pictureTiles(result.job.jobID, "imagery", stem),
        result.job.inputs.pre?.length ? pictureTiles(result.job.jobID, "pre", stem) : null,
      ]);
      if (gone) return;
      made.setPicture(picture);
      before.value = pre;
      const box = around(units, picture);
      if (!place.value.camera && box) made.fit(box, true);
      map.value = made;
      made.map.triggerRepaint();
    });
    return () => {
      gone = true;
      map.value = null;
      drawn.value = false;
      for (const stop of stops.reverse()) stop();
    };
  }, [units, place.value.scene]);

  return (
    <section class={`map-frame${drawingHint.value ? " drawing" : ""}`} aria-label="Map" data-state={drawn.value ? "drawn" : "drawing"} aria-busy={!drawn.value && !failed.value}>
      <div class="map" ref={frame} />
      {map.value && before.value ? <Swipe map={map.value} tiles={before.value} result={result} /> : null}
      {map.value ? <HoverTip map={map.value} result={result} /> : null}
      {drawingHint.value ? <p class="hint">{drawingHint.value}</p> : null}
      {failed.value ? <p class="hint">{failed.value}</p> : null}
      {!units && !failed.value ? <p class="hint">Reading the map…</p> : null}
    </section>
  );
}

/** Let the map follow the reader's choices, and the address the map. */
function inStep(on: DamageMap, result: Result, labelling: Labelling, onPaint: () => void): (() => void)[] {
  const { map } = on;
  const camera = computed(() => place.value.camera);
  map.on("zoom", () => on.repaint());
  map.on("moveend", () => {
    const { lng, lat } = map.getCenter();
    look({ camera: { lon: lng, lat, zoom: map.getZoom() } });
  });
  map.on("click", (event) => {
    if (drawingHint.value) return;
    const unit = on.unitAt(event.point.x, event.point.y);
    look({ unit: unit < 0 ? null : result.units.value!.ids[unit]! });
  });
  // A tile that is not there is a gap in the picture and no more; the rest is worth a line in the console.
  map.on("error", (event) => {
    if (!/tile/i.test(event.error?.message ?? "") && !(event as { sourceId?: string }).sourceId) console.warn(event.error);
  });
  return [
    effect(() => {
      const { colouring, hidden } = place.value;
      if (on.paint({ rule: result.rule.value, colouring, hidden, opacity: opacity.value })) onPaint();
    }),
    effect(() => on.showUnits(unitsShown.value)),
    effect(() => {
      if (camera.value) on.goTo(camera.value);
    }),
    effect(() => on.setArea(place.value.area)),
    effect(() => on.mark(result.units.value!, labelling.marks.value)),
    effect(() => {
      const unit = result.selected.value;
      if (unit < 0) on.select(null);
      else void result.reader.describe(unit).then((feature) => result.selected.value === unit && on.select(feature));
    }),
  ];
}

/** The name under which the service keeps the one scene that is looked at. */
function stemOf(result: Result): string | null {
  const { scene } = place.value;
  return scene === null ? null : (result.job.result?.scenes?.find((one) => one.name === scene)?.stem ?? null);
}

/** Return the box around units and picture. */
function around(units: Units, picture: Tiles | null): Box | null {
  const boxes = [units.bounds, picture?.bounds ?? null].filter((box): box is Box => box !== null);
  if (!boxes.length) return null;
  // Units may lie far outside the picture: then the picture is what there is to see.
  return picture && picture.bounds[2] - picture.bounds[0] < 90 ? picture.bounds : boxes[0]!;
}
