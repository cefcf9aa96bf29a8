/** Threshold, counts, what is shown and how it is coloured. */

import type { JSX } from "preact";
import type { Result } from "../results/result";
import { COLOURS, RAMP, VERDICTS, inWords } from "../results/verdicts";
import type { Verdict } from "../results/verdicts";
import { look, place } from "../state";
import { opacity, unitsShown } from "../map/display";
import { count, percent } from "../words";

export function Controls({ result }: { result: Result }): JSX.Element {
  return (
    <>
      <Threshold result={result} />
      <Legend result={result} />
      <Display result={result} />
    </>
  );
}

function Threshold({ result }: { result: Result }): JSX.Element {
  const own = result.own.value.threshold;
  const used = place.value.threshold;
  const value = used ?? own;
  const set = (text: string): void => {
    const wanted = Number(text);
    if (text !== "" && wanted >= 0 && wanted <= 1) look({ threshold: wanted });
  };
  return (
    <section class="card tight" aria-labelledby="threshold-title">
      <div class="row spread">
        <h3 id="threshold-title">Damaged from P</h3>
        <input
          class="number"
          type="number"
          min={0}
          max={1}
          step={0.01}
          value={value.toFixed(3)}
          aria-label="Threshold as a number"
          onChange={(event) => set(event.currentTarget.value)}
        />
      </div>
      <input
        type="range"
        min={0}
        max={1}
        step={0.005}
        value={value}
        aria-labelledby="threshold-title"
        aria-valuetext={`from probability ${value.toFixed(3)}: ${result.tally.value.counts[0]} damaged`}
        onInput={(event) => set(event.currentTarget.value)}
      />
      <div class="row spread fixed">
        <span class="note">{used === null ? "the model's own" : `the model's own: ${own.toFixed(3)}`}</span>
        <button type="button" class="quiet" disabled={used === null} onClick={() => look({ threshold: null })}>Reset</button>
      </div>
    </section>
  );
}

function Legend({ result }: { result: Result }): JSX.Element {
  const { counts, total } = result.tally.value;
  const hidden = place.value.hidden;
  const judged = total - counts[3]!;
  const ranking = result.job.result?.ranking_only ?? result.summary.value?.ranking_only ?? true;
  const toggle = (verdict: Verdict, shown: boolean): void =>
    look({ hidden: VERDICTS.filter((one) => (one === verdict ? !shown : hidden.includes(one))) });
  const kind = result.units.value?.kind ?? "building";
  return (
    <section class="card tight" aria-labelledby="legend-title">
      <h3 id="legend-title">{count(total)} {kind}s {place.value.area ? "in the area" : "in all"}</h3>
      <ul class="legend">
        {VERDICTS.map((verdict, code) => (
          <li key={verdict} class={`tile ${verdict}`} style={{ "--label": COLOURS[verdict] }}>
            <label>
              <input type="checkbox" checked={!hidden.includes(verdict)} onChange={(event) => toggle(verdict, event.currentTarget.checked)} />
              <i class={`swatch ${verdict}`} />
              <span class="what">{inWords(verdict, ranking)}</span>
              <b data-count={verdict}>{count(counts[code]!)}</b>
              <small>{code === 3 ? percent(counts[3]!, total) : percent(counts[code]!, judged)}</small>
            </label>
          </li>
        ))}
      </ul>
      <p class="note">Shares of the judged; “not judged” of all.</p>
    </section>
  );
}

function Display({ result }: { result: Result }): JSX.Element {
  const stops = RAMP.map(([, colour]) => colour).join(", ");
  const { colouring } = place.value;
  const kind = result.units.value?.kind ?? "building";
  return (
    <section class="card tight" aria-labelledby="display-title">
      <h3 id="display-title">Colours</h3>
      <div class="row" role="radiogroup" aria-labelledby="display-title">
        <label class="choice"><input type="radio" name="colouring" checked={colouring === "probability"} onChange={() => look({ colouring: "probability" })} /> probability</label>
        <label class="choice"><input type="radio" name="colouring" checked={colouring === "verdict"} onChange={() => look({ colouring: "verdict" })} /> verdict</label>
      </div>
      {colouring === "probability" ? (
        <>
          <div class="ramp" style={{ background: `linear-gradient(to right, ${stops})` }} />
          <div class="row spread note"><span>0</span><span>P(damaged)</span><span>1</span></div>
          <p class="note">Outlines show the verdict; thick red is damaged.</p>
        </>
      ) : null}
      <label class="field">
        Strength
        <input type="range" min={0} max={1} step={0.05} value={opacity.value} onInput={(event) => (opacity.value = Number(event.currentTarget.value))} />
      </label>
      <label class="choice"><input type="checkbox" checked={unitsShown.value} onChange={(event) => (unitsShown.value = event.currentTarget.checked)} /> Show {kind}s on the picture</label>
    </section>
  );
}
