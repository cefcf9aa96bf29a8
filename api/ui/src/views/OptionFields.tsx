/** Options of an assessment, folded: names, limits and meaning as in damagenet/options.py. */

import type { JSX } from "preact";
import { asSentence } from "../words";

interface Field {
  name: string;
  title: string;
  note: string;
  type: "number" | "text" | "checkbox";
  min?: number;
  max?: number;
  step?: number | "any";
  placeholder?: string;
}

const FIELDS: readonly Field[] = [
  { name: "threshold", title: "Threshold", note: "Probability from which a unit counts as damaged; within the model's uncertain band it changes no verdict", type: "number", min: 0, max: 1, step: "any", placeholder: "the model's own" },
  { name: "prior", title: "Expected share of damaged", note: "Probabilities are re-weighted to it", type: "number", min: 0, max: 1, step: "any", placeholder: "as in calibration" },
  { name: "max_error", title: "Largest share of wrong verdicts", note: "What would break it becomes uncertain", type: "number", min: 0, max: 0.5, step: "any", placeholder: "not limited" },
  { name: "min_valid", title: "Least usable share of a window", note: "Below it a unit is not judged", type: "number", min: 0, max: 1, step: "any", placeholder: "0.5" },
  { name: "stride", title: "Side of a grid cell in metres", note: "Without footprints only", type: "number", min: 0, step: "any", placeholder: "one chip" },
  { name: "acquired", title: "Taken on", note: "ISO 8601, where the files do not say", type: "text", placeholder: "2017-08-31T17:38" },
  { name: "id_field", title: "Column with ids", note: "In the footprints", type: "text", placeholder: "uid, id or fid" },
  { name: "bands", title: "Bands for red, green, blue", note: "Counted from 1", type: "text", placeholder: "1,2,3" },
  { name: "pixel_size", title: "Metres per pixel", note: "For a picture without georeference", type: "number", min: 0, step: "any" },
  { name: "force_coarse", title: "Judge scenes coarser than 3 m", note: "Every verdict is marked", type: "checkbox" },
];

export function OptionFields(): JSX.Element {
  return (
    <details class="card options">
      <summary>Options</summary>
      <div class="fields">
        {FIELDS.map((field) => <OptionField key={field.name} field={field} />)}
        <label class="field check">
          <input type="checkbox" name="clouds" value="ignore" />
          <span>Do not look for clouds<small>What they hide is then judged too</small></span>
        </label>
      </div>
    </details>
  );
}

function OptionField({ field }: { field: Field }): JSX.Element {
  const { name, title, note, type, min, max, step, placeholder } = field;
  if (type === "checkbox") {
    return <label class="field check"><input type="checkbox" name={name} value="true" /><span>{title}<small>{note}</small></span></label>;
  }
  return (
    <label class="field">
      {title}<small>{note}</small>
      <input name={name} type={type} min={min} max={max} step={step} placeholder={placeholder} inputMode={type === "number" ? "decimal" : undefined} />
    </label>
  );
}

/** Return the options that were filled in, by name. */
export function optionsOf(form: HTMLFormElement): Record<string, string> {
  const filled = new FormData(form);
  const names = [...FIELDS.map((field) => field.name), "clouds"];
  return Object.fromEntries(
    names.map((name) => [name, String(filled.get(name) ?? "").trim()]).filter(([, value]) => value !== ""),
  );
}

const OTHERS: Record<string, string> = {
  model: "Model",
  pre: "Scene before the storm",
  buildings: "Footprints",
  exclude: "Areas to leave out",
  clouds: "Do not look for clouds",
};

/** Return a sentence of the engine with the command line's options called as on this page. */
export function inPageWords(sentence: string): string {
  return asSentence(sentence).replace(/--([a-z][a-z-]+)/g, (whole, option: string) => {
    const name = option.replaceAll("-", "_");
    const title = FIELDS.find((field) => field.name === name)?.title ?? OTHERS[name];
    return title ? `“${title}”` : whole;
  });
}
