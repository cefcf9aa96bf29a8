/** A finished adaptation: what it came to, and the way to see what it changes. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Comparison, Estimate, Job } from "../service/answers";
import { ask, jobAddress, sentenceOf, withJson } from "../service/requests";
import { go } from "../state";
import { asSentence } from "../words";

const METRICS: readonly [name: string, title: string][] = [
  ["recall", "damaged found"],
  ["false_alarm_rate", "intact flagged"],
  ["accuracy", "right"],
];

export function Adapted({ job }: { job: Job }): JSX.Element {
  const said = job.result ?? {};
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);

  async function again(): Promise<void> {
    setBusy(true);
    try {
      const next = await ask<Job>(jobAddress(said.assessment!, "again"), withJson("POST", { model: said.name }));
      go({ page: "job", job: next.jobID, versus: said.assessment! });
    } catch (error) {
      setTrouble(sentenceOf(error));
      setBusy(false);
    }
  }

  if (job.processID !== "adapt") return <Back job={job} />;
  return (
    <section class="card narrow" aria-labelledby="adapted">
      <h1 id="adapted">The model {said.name} is ready</h1>
      <p class="note">Adapted from {said.base}.</p>
      {said.labels ? <p>Fitted to {said.labels.fitted} labels; {said.labels.aside} were kept aside to score it{said.labels.aside_random === said.labels.aside && said.labels.aside ? ", all drawn at random" : ""}.</p> : null}
      {said.aside ? <Scores aside={said.aside} /> : null}
      {said.why && !said.why.startsWith("--") ? <p class="note">{asSentence(said.why)}.</p> : null}
      <div class="row">
        {said.assessment ? <button type="button" class="main" disabled={busy} onClick={() => void again()}>Assess the same scenes again and see what changes</button> : null}
        {said.assessment ? <button type="button" onClick={() => go({ page: "job", job: said.assessment! })}>Back to the labels</button> : null}
      </div>
      <p class="trouble" role="alert">{trouble}</p>
    </section>
  );
}

function Back({ job }: { job: Job }): JSX.Element {
  const source = job.result?.assessment ?? String(job.options.assessment ?? "");
  return (
    <section class="card narrow">
      <h1>{job.message}</h1>
      {(job.result?.notes ?? []).map((note) => <p key={note}>{note}</p>)}
      <button type="button" class="main" onClick={() => go({ page: "job", job: source })}>To the assessment</button>
    </section>
  );
}

function Scores({ aside }: { aside: Comparison }): JSX.Element {
  return (
    <>
      <table>
        <thead><tr><th>On the labels kept aside</th><th class="n">before</th><th class="n">after</th></tr></thead>
        <tbody>
          {METRICS.filter(([name]) => name in aside.after).map(([name, title]) => (
            <tr key={name}><th scope="row">{title}</th><td class="n">{share(aside.before[name])}</td><td class="n">{share(aside.after[name])}</td></tr>
          ))}
        </tbody>
      </table>
      {aside.note ? <p class="note">{asSentence(aside.note)}.</p> : null}
      {worse(aside) ? <p class="reason">On these labels the adapted model is right less often than before. More labels may help; the model before stays selectable.</p> : null}
    </>
  );
}

function worse(aside: Comparison): boolean {
  const [before, after] = [aside.before.accuracy, aside.after.accuracy].map((one) => (typeof one === "object" ? one?.value : one));
  return before != null && after != null && after < before;
}

function share(figure: Estimate | number | null | undefined): string {
  const value = typeof figure === "object" ? figure?.value : figure;
  if (value == null) return "not measured";
  const range = typeof figure === "object" && figure?.low != null && figure.high != null
    ? ` (${(100 * figure.low).toFixed(0)} to ${(100 * figure.high).toFixed(0)})` : "";
  return `${(100 * value).toFixed(0)} %${range}`;
}
