/** The picture before the storm over the one after it, divided by a bar that can be moved. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Map as MapLibre } from "maplibre-gl";
import type { DamageMap, Tiles } from "../map/damage_map";
import { DOTS_BELOW, emptyStyle, verdictColour } from "../map/layers";
import { unitSource } from "../map/unit_source";
import type { Result } from "../results/result";
import { SHAPES } from "../results/tiling";
import { look, place } from "../state";

const STEP = 0.05;

interface Divided {
  map: DamageMap;
  tiles: Tiles;
  result: Result;
}

export function Swipe({ map, tiles, result }: Divided): JSX.Element {
  const at = place.value.swipe;
  const toggle = (): void => look({ swipe: at === null ? 0.5 : null });
  return (
    <>
      {at === null ? null : <Before map={map} tiles={tiles} result={result} at={at} />}
      {at === null ? null : <Bar at={at} />}
      <button type="button" class="swipe-toggle" aria-pressed={at !== null} onClick={toggle}>Compare with before</button>
    </>
  );
}

function Before({ map, tiles, result, at }: Divided & { at: number }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const drawn = useSignal(false);
  useEffect(() => {
    const { map: main } = map;
    const style = emptyStyle();
    style.sources.before = { type: "raster", tiles: [tiles.url], tileSize: 256, bounds: tiles.bounds, minzoom: tiles.minzoom, maxzoom: tiles.maxzoom };
    style.layers.push({ id: "before", type: "raster", source: "before", paint: { "raster-fade-duration": 0 } });
    style.sources.units = unitSource(result.reader);
    style.layers.push({
      id: "outlines",
      type: "line",
      source: "units",
      "source-layer": SHAPES,
      minzoom: DOTS_BELOW,
      paint: { "line-color": verdictColour(result.rule.peek()), "line-width": 1.6 },
    });
    const second = new MapLibre({
      container: frame.current!,
      style,
      center: main.getCenter(),
      zoom: main.getZoom(),
      maxZoom: 22,
      interactive: false,
      attributionControl: false,
    });
    const canvas = second.getCanvas();
    canvas.setAttribute("aria-hidden", "true");
    canvas.tabIndex = -1;
    const follow = (): void => void second.jumpTo({ center: main.getCenter(), zoom: main.getZoom() });
    main.on("move", follow);
    second.on("idle", () => (drawn.value = true));
    return () => {
      main.off("move", follow);
      second.remove();
    };
  }, [map, tiles]);
  return <div class="map before" ref={frame} data-state={drawn.value ? "drawn" : "drawing"} style={{ clipPath: `inset(0 ${(100 * (1 - at)).toFixed(2)}% 0 0)` }} />;
}

function Bar({ at }: { at: number }): JSX.Element {
  const bar = useRef<HTMLDivElement>(null);
  const move = (value: number): void => look({ swipe: Math.min(1, Math.max(0, value)) });

  function drag(event: PointerEvent): void {
    if (!bar.current?.hasPointerCapture(event.pointerId)) return;
    const frame = bar.current.parentElement!.getBoundingClientRect();
    move((event.clientX - frame.left) / frame.width);
  }
  function key(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: at - STEP, ArrowRight: at + STEP, Home: 0, End: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    move(steps[event.key]!);
  }

  return (
    <div
      ref={bar}
      class="swipe"
      role="slider"
      tabIndex={0}
      aria-label="Divide before and after"
      aria-orientation="horizontal"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(100 * at)}
      aria-valuetext={`${Math.round(100 * at)} % of the map shows the picture before`}
      style={{ left: `${100 * at}%` }}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
      onKeyDown={key}
    >
      <span class="side">before</span><span class="side">after</span>
    </div>
  );
}
