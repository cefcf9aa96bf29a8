/** Label units by eye, ask which to label next, adapt the model to what was labelled. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Labelling, Learn } from "../labelling";
import type { Result } from "../results/result";
import { sentenceOf } from "../service/requests";
import { go } from "../state";
import { many } from "../words";

const SUGGESTED = 40;

export function LabelTools({ result, labelling }: { result: Result; labelling: Labelling }): JSX.Element | null {
  if (!labelling.available.value) return null;
  const counts = labelling.answer.value?.counts;
  const given = (counts?.damaged ?? 0) + (counts?.undamaged ?? 0);
  const suggesting = labelling.suggesting.value;
  return (
    <section class="card tight" aria-labelledby="label-title">
      <h3 id="label-title">Labels</h3>
      <label class="choice">
        <input type="checkbox" checked={labelling.on.value} onChange={(event) => (labelling.on.value = event.currentTarget.checked)} />
        Label what I see
      </label>
      {labelling.on.value ? <p class="note">Choose a unit on the map or in the list, then <kbd>D</kbd> damaged, <kbd>U</kbd> undamaged, <kbd>X</kbd> clear. The next one follows.</p> : null}
      {counts ? (
        <p>
          <b data-labels="damaged">{counts.damaged}</b> damaged, <b data-labels="undamaged">{counts.undamaged}</b> undamaged
          {counts.open ? <>, <b>{counts.open}</b> asked for</> : null}
        </p>
      ) : null}
      <button type="button" disabled={suggesting !== null} onClick={() => void labelling.suggest(SUGGESTED)}>
        {suggesting ? `Looking for units… ${suggesting.progress} %` : `Suggest ${SUGGESTED} to label`}
      </button>
      {given ? <Adapt result={result} labelling={labelling} missing={Math.max(0, (counts?.needed ?? 0) - given)} /> : null}
      <p class="trouble" role="alert">{labelling.trouble.value}</p>
    </section>
  );
}

function Adapt({ result, labelling, missing }: { result: Result; labelling: Labelling; missing: number }): JSX.Element {
  const [trouble, setTrouble] = useState("");
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const filled = new FormData(event.target as HTMLFormElement);
    try {
      const job = await labelling.adapt(String(filled.get("name")).trim(), String(filled.get("learn")) as Learn);
      go({ page: "job", job: job.jobID });
    } catch (error) {
      setTrouble(sentenceOf(error));
    }
  }
  return (
    <form class="adapt" onSubmit={(event) => void submit(event)}>
      <label class="field">
        Adapt the model, as
        <input name="name" required maxLength={60} defaultValue={suggestedName(result)} />
      </label>
      <label class="field">
        What may change
        <select name="learn">
          <option value="head">its last layer: a minute or so</option>
          <option value="best">what helps most: many minutes</option>
        </select>
      </label>
      <button class="main" disabled={missing > 0}>Adapt</button>
      {missing ? <p class="note">{many(missing, "label")} more are needed, of both kinds.</p> : null}
      <p class="trouble" role="alert">{trouble}</p>
    </form>
  );
}

function suggestedName(result: Result): string {
  const stem = (result.stems[0] ?? "event").toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40).replace(/^-|-$/g, "");
  return `${stem}-1`;
}
