/** What lies under the pointer, in one line. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { MapMouseEvent } from "maplibre-gl";
import type { DamageMap } from "../map/damage_map";
import { drawingHint } from "../map/display";
import type { Result } from "../results/result";
import { COLOURS, VERDICTS, inWords } from "../results/verdicts";

interface Tip {
  unit: number;
  x: number;
  y: number;
}

export function HoverTip({ map, result }: { map: DamageMap; result: Result }): JSX.Element | null {
  const [tip, setTip] = useState<Tip | null>(null);
  useEffect(() => {
    let ticket = 0;
    const canvas = map.map.getCanvas();
    const move = (event: MapMouseEvent): void => {
      window.cancelAnimationFrame(ticket);
      ticket = window.requestAnimationFrame(() => {
        if (drawingHint.value || map.map.isMoving()) return setTip(null);
        const { x, y } = event.point;
        const unit = map.unitAt(x, y);
        canvas.style.cursor = unit < 0 ? "" : "pointer";
        setTip(unit < 0 ? null : { unit, x, y });
      });
    };
    const leave = (): void => {
      window.cancelAnimationFrame(ticket);
      setTip(null);
    };
    map.map.on("mousemove", move);
    map.map.on("mouseout", leave);
    map.map.on("movestart", leave);
    return () => {
      window.cancelAnimationFrame(ticket);
      map.map.off("mousemove", move);
      map.map.off("mouseout", leave);
      map.map.off("movestart", leave);
    };
  }, [map]);
  const units = result.units.value;
  if (!tip || !units) return null;
  const verdict = VERDICTS[result.codes.value[tip.unit]!]!;
  const p = units.p[tip.unit]!;
  return (
    <div class="tip" aria-hidden="true" style={{ left: `${tip.x}px`, top: `${tip.y}px`, "--label": COLOURS[verdict] }}>
      <strong>{inWords(verdict)}{Number.isNaN(p) ? "" : `, P ${p.toFixed(2)}`}</strong>
      <span>{units.ids[tip.unit]}</span>
    </div>
  );
}
