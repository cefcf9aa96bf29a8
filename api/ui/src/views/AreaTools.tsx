/** Count and list only what lies in an area: drawn, or what the map shows now. */

import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { DamageMap } from "../map/damage_map";
import { drawingHint } from "../map/display";
import { draw } from "../map/drawing";
import type { Shape } from "../map/drawing";
import { announcement, look, place } from "../state";

const HINTS: Record<Shape, string> = {
  rectangle: "Drag over the map to draw a rectangle. Escape gives up.",
  polygon: "Click the corners; a double click or Enter closes the area. Escape gives up.",
};

export function AreaTools({ map }: { map: Signal<DamageMap | null> }): JSX.Element {
  const giveUp = useRef<(() => void) | null>(null);
  useEffect(() => () => giveUp.current?.(), []);

  function begin(shape: Shape): void {
    giveUp.current?.();
    const on = map.value!;
    drawingHint.value = announcement.value = HINTS[shape];
    on.map.getCanvas().focus();
    giveUp.current = draw(on.map, shape, {
      onChange: (area) => on.setArea(area, false),
      onDone: (area) => {
        giveUp.current = null;
        drawingHint.value = "";
        if (area) look({ area });
        else on.setArea(place.value.area);
      },
    });
  }
  function view(): void {
    const box = map.value!.map.getBounds();
    const [west, south, east, north] = [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
    look({ area: [[west, south], [east, south], [east, north], [west, north]] });
    announcement.value = "Only what the map shows now is counted.";
  }

  const off = map.value === null;
  return (
    <section class="card tight" aria-labelledby="area-title">
      <h3 id="area-title">Area</h3>
      <div class="row">
        <button type="button" disabled={off} onClick={() => begin("rectangle")}>Rectangle</button>
        <button type="button" disabled={off} onClick={() => begin("polygon")}>Polygon</button>
        <button type="button" disabled={off} onClick={view}>This view</button>
        {place.value.area ? <button type="button" class="quiet" onClick={() => look({ area: null })}>Everywhere</button> : null}
      </div>
    </section>
  );
}
