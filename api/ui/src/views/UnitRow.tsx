/** One row of the list: a small picture, the verdict, the probability, the id. */

import type { JSX } from "preact";
import type { Labelling } from "../labelling";
import type { Result } from "../results/result";
import { COLOURS, VERDICTS, inWords } from "../results/verdicts";
import { Chip } from "./Chip";

interface Row {
  result: Result;
  labelling: Labelling;
  unit: number;
  at: number;
  of: number;
  top: number;
  onChoose: () => void;
}

export function UnitRow({ result, labelling, unit, at, of, top, onChoose }: Row): JSX.Element {
  const units = result.units.value!;
  const verdict = VERDICTS[result.codes.value[unit]!]!;
  const p = units.p[unit]!;
  const label = labelling.byUnit.value.get(unit);
  const asked = labelling.on.value && label !== undefined && label.label === null;
  return (
    <div
      id={`unit-${unit}`}
      class="unit-row"
      role="option"
      aria-selected={result.selected.value === unit}
      aria-setsize={of}
      aria-posinset={at + 1}
      style={{ top: `${top}px`, "--label": COLOURS[verdict] }}
      onClick={onChoose}
    >
      <Chip result={result} id={units.ids[unit]!} side={48} />
      <span class="what"><i class={`swatch ${verdict}`} />{inWords(verdict)}</span>
      <b>{Number.isNaN(p) ? "" : p.toFixed(3)}</b>
      <span class="id" title={units.ids[unit]}>{units.ids[unit]}</span>
      <span class="mark">{label?.label ? `labelled ${label.label}` : asked ? "please label" : ""}</span>
    </div>
  );
}
