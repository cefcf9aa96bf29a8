/** All listed units, sorted; only the rows in sight are in the document. */

import { useComputed, useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Labelling } from "../labelling";
import type { DamageMap } from "../map/damage_map";
import type { Result } from "../results/result";
import type { Order } from "../results/units";
import { look, place } from "../state";
import { calm } from "../theme";
import { useLabelKeys } from "./label_keys";
import { UnitRow } from "./UnitRow";
import { count } from "../words";

const ROW_PX = 60;
const SPARE_ROWS = 4;
/** Browsers draw nothing that lies deeper than about 33 million pixels. */
const MOST_ROWS = 500_000;
const CLOSE_ZOOM = 17.5;

const ORDERS: Record<Order, string> = {
  damaged: "Surest damaged first",
  doubt: "Most doubtful first",
  undamaged: "Surest undamaged first",
  file: "As in the file",
};

interface View {
  result: Result;
  labelling: Labelling;
  map: Signal<DamageMap | null>;
}

export function UnitList({ result, labelling, map }: View): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const rows = useComputed(() => withAsked(result.listed.value, labelling).subarray(0, MOST_ROWS));
  const selected = result.selected.value;
  const at = selected < 0 ? -1 : rows.value.indexOf(selected);
  const choose = (row: number): void => {
    const unit = rows.value[Math.min(rows.value.length - 1, Math.max(0, row))];
    if (unit !== undefined) look({ unit: result.units.value!.ids[unit]! });
  };
  useLabelKeys(result, labelling, () => choose(next(rows.value, at)));
  useEffect(() => {
    const watch = new ResizeObserver(() => (height.value = box.current?.clientHeight ?? 600));
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (at >= 0) intoSight(box.current!, at);
    if (selected >= 0) showOnMap(map.value, result, selected);
  }, [selected]);

  function key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(height.value / ROW_PX) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.value.length - 1,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(steps[event.key]!);
  }

  const first = Math.max(0, Math.floor(top.value / ROW_PX) - SPARE_ROWS);
  const last = Math.min(rows.value.length, Math.ceil((top.value + height.value) / ROW_PX) + SPARE_ROWS);
  return (
    <section class="card tight list" aria-labelledby="list-title">
      <div class="row spread">
        <h3 id="list-title">{result.listed.value.length > MOST_ROWS ? "first " : ""}{count(rows.value.length)} listed</h3>
        <select aria-label="Order of the list" value={place.value.order} onChange={(event) => look({ order: event.currentTarget.value as Order })}>
          {Object.entries(ORDERS).map(([order, title]) => <option key={order} value={order}>{title}</option>)}
        </select>
      </div>
      <div
        ref={box}
        class="rows"
        role="listbox"
        tabIndex={0}
        aria-labelledby="list-title"
        aria-activedescendant={at >= first && at < last ? `unit-${selected}` : undefined}
        onScroll={(event) => (top.value = event.currentTarget.scrollTop)}
        onKeyDown={key}
      >
        <div class="all" style={{ height: `${rows.value.length * ROW_PX}px` }}>
          {Array.from(rows.value.subarray(first, last), (unit, offset) => (
            <UnitRow
              key={unit}
              result={result}
              labelling={labelling}
              unit={unit}
              at={first + offset}
              of={rows.value.length}
              top={(first + offset) * ROW_PX}
              onChoose={() => choose(first + offset)}
            />
          ))}
        </div>
        {rows.value.length === 0 && result.units.value ? <p class="note empty">No unit is left: show more verdicts, or look everywhere.</p> : null}
      </div>
    </section>
  );
}

/** In label mode, what is asked for stands first. */
function withAsked(listed: Uint32Array, labelling: Labelling): Uint32Array {
  const asked = labelling.on.value ? labelling.asked.value : [];
  if (!asked.length) return listed;
  const known = new Set(asked);
  return Uint32Array.from([...asked, ...listed.filter((unit) => !known.has(unit))]);
}

/** The row after a labelled one; an asked unit leaves its row to the one below. */
function next(rows: Uint32Array, at: number): number {
  return Math.min(rows.length - 1, at + 1);
}

function intoSight(box: HTMLElement, row: number): void {
  const top = row * ROW_PX;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW_PX > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_PX - box.clientHeight;
}

/** Move the map only where the unit is out of sight or too small to see. */
function showOnMap(map: DamageMap | null, result: Result, unit: number): void {
  const units = result.units.value!;
  const [lon, lat] = [units.lon[unit]!, units.lat[unit]!];
  if (!map || !Number.isFinite(lon) || !Number.isFinite(lat)) return;
  const near = map.map.getZoom() >= 15;
  if (near && map.map.getBounds().contains([lon, lat])) return;
  map.map.easeTo({ center: [lon, lat], zoom: Math.max(map.map.getZoom(), CLOSE_ZOOM), animate: !calm(), duration: 500 });
}
