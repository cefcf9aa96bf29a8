/** What a reader must know before believing the map; it stands first, as in the report. */

import type { JSX } from "preact";
import type { AssessResult, Summary } from "../service/answers";
import { COLOURS, VERDICTS, inWords } from "../results/verdicts";
import { asSentence, headOf } from "../words";

interface Said {
  result: AssessResult;
  summary: Summary | null;
}

export function Honest({ result, summary }: Said): JSX.Element {
  const ranking = result.ranking_only ?? summary?.ranking_only ?? true;
  const trust = Object.values(result.trust ?? summary?.trust ?? {});
  const licence = result.licence ?? summary?.licences.model ?? "";
  const commercial = !(result.non_commercial ?? summary?.licences.non_commercial);
  return (
    <section class={`banner ${ranking ? "caution" : "steady"}`} aria-labelledby="headline">
      <h1 id="headline">{result.headline ?? summary?.headline}</h1>
      <p class="sentence">{result.sentence ?? summary?.sentence}</p>
      <ul class="badges">
        {trust.map((sentence) => <li key={sentence}>{headOf(sentence)}</li>)}
        {commercial ? null : <li>Non-commercial use only</li>}
      </ul>
      <details>
        <summary>Whether to trust it, what the words mean, licence</summary>
        <div class="reading">
          {trust.map((sentence) => <p key={sentence}>{sentence}</p>)}
          {ranking ? <p>Use the map to decide where to look first. The totals say how many the model flagged, not how many are damaged.</p> : null}
          {summary ? <Words summary={summary} /> : null}
          {(result.warnings ?? summary?.warnings ?? []).map((warning) => <p key={warning}>{asSentence(warning)}</p>)}
          <p>Licence of the model: {licence}. {summary ? `Its training data: ${summary.licences.training_data}.` : ""}</p>
        </div>
      </details>
    </section>
  );
}

function Words({ summary }: { summary: Summary }): JSX.Element {
  return (
    <>
      <dl class="meanings">
        {VERDICTS.map((verdict) => (
          <div key={verdict}>
            <dt><i class={`swatch ${verdict}`} style={{ "--label": COLOURS[verdict] }} />{inWords(verdict)}</dt>
            <dd>{summary.meanings[verdict]}</dd>
          </div>
        ))}
      </dl>
      <p>{summary.window} {summary.clouds}</p>
    </>
  );
}
