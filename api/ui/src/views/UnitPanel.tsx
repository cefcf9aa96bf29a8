/** One unit: its pictures, its verdict and why, what the caller's file says of it. */

import { useSignal, useSignalEffect } from "@preact/signals";
import type { Feature } from "geojson";
import type { JSX } from "preact";
import type { Answered, Labelling } from "../labelling";
import type { Result } from "../results/result";
import { COLOURS, VERDICTS, inWords } from "../results/verdicts";
import { look } from "../state";
import { Chip } from "./Chip";
import { Looked } from "./Looked";
import { moment } from "../words";

/** Columns of a record that the panel says in words; the others are the caller's own. */
const SAID = new Set(["unit_id", "kind", "label", "reason", "p_damaged", "p_min", "chips", "lon", "lat", "valid_fraction", "ground_m", "scene", "acquired", "model", "scenes", "disagree"]);

export function UnitPanel({ result, labelling }: { result: Result; labelling: Labelling }): JSX.Element | null {
  const feature = useSignal<Feature | null>(null);
  useSignalEffect(() => {
    const unit = result.selected.value;
    if (unit < 0) feature.value = null;
    else void result.reader.describe(unit).then((found) => {
      if (result.selected.value === unit) feature.value = found;
    });
  });
  const unit = result.selected.value;
  const units = result.units.value;
  if (unit < 0 || !units) return null;
  const id = units.ids[unit]!;
  const verdict = VERDICTS[result.codes.value[unit]!]!;
  const properties = feature.value?.properties;
  const said = String(properties?.unit_id) === id ? properties! : null;
  return (
    <section class="card tight panel" aria-labelledby="panel-title" style={{ "--label": COLOURS[verdict] }}>
      <div class="row spread">
        <h3 id="panel-title" title={id}>{units.kind} {id}</h3>
        <button type="button" class="quiet" aria-label="Close this unit" onClick={() => look({ unit: null })}>×</button>
      </div>
      <Pictures result={result} id={id} />
      <p class="verdict"><i class={`swatch ${verdict}`} /> <strong>{inWords(verdict)}</strong>{Number.isNaN(units.p[unit]!) ? "" : `, P(damaged) ${units.p[unit]!.toFixed(3)}`}</p>
      {labelling.available.value ? <LabelButtons unit={unit} labelling={labelling} /> : null}
      {Number.isNaN(units.p[unit]!) ? null : <Looked key={id} result={result} id={id} />}
      {said ? <Facts said={said} result={result} /> : null}
    </section>
  );
}

function Pictures({ result, id }: { result: Result; id: string }): JSX.Element {
  const two = Boolean(result.job.inputs.pre?.length);
  return (
    <div class={`pictures${two ? " two" : ""}`}>
      {two ? <figure><Chip result={result} id={id} side={160} before alt="Before the storm" /><figcaption>before</figcaption></figure> : null}
      <figure><Chip result={result} id={id} side={two ? 160 : 190} alt="After the storm" />{two ? <figcaption>after</figcaption> : null}</figure>
    </div>
  );
}

function Facts({ said, result }: { said: Record<string, unknown>; result: Result }): JSX.Element {
  const own = Object.entries(said).filter(([name, value]) => !SAID.has(name) && value !== null && value !== "");
  const reason = String(said.reason ?? "");
  const meaning = result.summary.value?.reasons[reason];
  const chips = Number(said.chips ?? 0);
  return (
    <>
      {reason ? <p class="reason">{meaning ?? reason}</p> : null}
      {said.disagree === true ? <p class="reason">Scenes contradict each other here.</p> : null}
      <dl class="attributes">
        {chips > 1 ? <Line name="windows">{`${chips}, P from ${number(said.p_min)} to ${number(said.p_damaged)}`}</Line> : null}
        <Line name="usable ground">{`${Math.round(100 * Number(said.valid_fraction ?? 0))} % of ${number(said.ground_m, 0)} m`}</Line>
        {typeof said.lat === "number" ? <Line name="latitude, longitude">{`${said.lat.toFixed(5)}, ${Number(said.lon).toFixed(5)}`}</Line> : null}
        {said.scene ? <Line name="scene">{String(said.scene)}</Line> : null}
        {said.acquired ? <Line name="picture taken">{moment(String(said.acquired))}</Line> : null}
        {own.map(([name, value]) => <Line key={name} name={name}>{String(value)}</Line>)}
      </dl>
    </>
  );
}

function Line({ name, children }: { name: string; children: string }): JSX.Element {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function LabelButtons({ unit, labelling }: { unit: number; labelling: Labelling }): JSX.Element {
  const given = labelling.byUnit.value.get(unit)?.label ?? null;
  const button = (label: Answered, text: string): JSX.Element => (
    <button type="button" aria-pressed={label !== null && given === label} disabled={label === null && given === null} onClick={() => labelling.say(unit, label)}>{text}</button>
  );
  return (
    <div class="row answers" role="group" aria-label="What do you see?">
      {button("damaged", "Damaged")}
      {button("undamaged", "Undamaged")}
      {button(null, "Clear")}
    </div>
  );
}

function number(value: unknown, digits = 3): string {
  return typeof value === "number" ? value.toFixed(digits) : "";
}
