/** What this assessment says otherwise than an earlier one of the same units. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Result } from "../results/result";
import { COLOURS } from "../results/verdicts";
import type { Verdict } from "../results/verdicts";
import type { Changes as Answer } from "../service/answers";
import { ask, sentenceOf } from "../service/requests";
import { look, place } from "../state";
import { count } from "../words";

const LISTED = 200;

export function Changes({ result }: { result: Result }): JSX.Element | null {
  const against = place.value.versus;
  const [changes, setChanges] = useState<Answer | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    if (!against) return;
    ask<Answer>(result.address(`changes?against=${against}&limit=${LISTED}`))
      .then(setChanges)
      .catch((error: unknown) => setTrouble(sentenceOf(error)));
  }, [against, result]);
  if (!against) return null;
  return (
    <section class="card tight" aria-labelledby="changes-title">
      <div class="row spread">
        <h3 id="changes-title">What changed</h3>
        <button type="button" class="quiet" onClick={() => look({ versus: null })}>Close</button>
      </div>
      <p class="trouble" role="alert">{trouble}</p>
      {changes ? (
        <>
          <p id="changed">{count(changes.changed)} of {count(changes.compared)} verdicts differ from {changes.model_against}.</p>
          <ul class="flows">
            {changes.flows.map((flow) => (
              <li key={flow.before + flow.after}><Word label={flow.before} /> → <Word label={flow.after} /> <b>{count(flow.count)}</b></li>
            ))}
          </ul>
          <ul class="changed" aria-label="Changed units">
            {changes.units.map((unit) => (
              <li key={unit.unit_id}>
                <button type="button" class="link" onClick={() => look({ unit: unit.unit_id })} title={unit.unit_id}>
                  <Word label={unit.before.label} /> {shown(unit.before.p_damaged)} → <Word label={unit.after.label} /> {shown(unit.after.p_damaged)}
                </button>
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </section>
  );
}

function Word({ label }: { label: string }): JSX.Element {
  return <span class="word"><i class={`swatch ${label}`} style={{ "--label": COLOURS[label as Verdict] }} />{label.replace("-", " ")}</span>;
}

function shown(p: number | null): string {
  return p === null ? "" : p.toFixed(2);
}
