/** A finished assessment: the honest sentence, the map, its controls, the list, the files. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { DamageMap } from "../map/damage_map";
import { Labelling } from "../labelling";
import { Result } from "../results/result";
import { inWords } from "../results/verdicts";
import type { Job } from "../service/answers";
import { count } from "../words";
import { AreaTools } from "./AreaTools";
import { Changes } from "./Changes";
import { Controls } from "./Controls";
import { Downloads } from "./Downloads";
import { Honest } from "./Honest";
import { LabelTools } from "./LabelTools";
import { MapView } from "./MapView";
import { Fact } from "./Progress";
import { ResultHead } from "./ResultHead";
import { UnitList } from "./UnitList";
import { UnitPanel } from "./UnitPanel";

export function ResultView({ job }: { job: Job }): JSX.Element {
  const result = useMemo(() => new Result(job), [job.jobID]);
  const labelling = useMemo(() => new Labelling(result), [result]);
  const map = useSignal<DamageMap | null>(null);
  useEffect(() => {
    void result.read().then(() => labelling.read());
    return () => result.close();
  }, [result]);
  const said = job.result ?? {};
  return (
    <>
      <Honest result={said} summary={result.summary.value} />
      <ResultHead result={result} />
      <Failures said={said.failures ?? []} />
      {result.trouble.value ? (
        <Mapless result={result} />
      ) : (
        <div class="result">
          <div class="controls">
            <Changes result={result} />
            <Controls result={result} />
            <AreaTools map={map} />
            <LabelTools result={result} labelling={labelling} />
          </div>
          <MapView result={result} labelling={labelling} map={map} />
          <div class="units">
            <UnitPanel result={result} labelling={labelling} />
            <UnitList result={result} labelling={labelling} map={map} />
          </div>
        </div>
      )}
      <Downloads result={result} />
    </>
  );
}

/** Counts and the report, where there is no map. */
function Mapless({ result }: { result: Result }): JSX.Element {
  const counts = result.job.result?.counts;
  const unjudged = Object.values(counts?.not_judged ?? {}).reduce((sum, some) => sum + some, 0);
  return (
    <section class="card" aria-label="Without a map">
      <p>{result.trouble.value}</p>
      {counts ? (
        <dl class="facts">
          <Fact name={inWords("damaged", result.job.result?.ranking_only)}>{count(counts.damaged)}</Fact>
          <Fact name="uncertain">{count(counts.uncertain)}</Fact>
          <Fact name="undamaged">{count(counts.undamaged)}</Fact>
          <Fact name="not judged">{count(unjudged)}</Fact>
        </dl>
      ) : null}
      {result.stems.length === 1 ? <a class="button" href={result.address("results/report.html")} target="_blank" rel="noopener">Open the report</a> : null}
    </section>
  );
}

function Failures({ said }: { said: { name: string; sentence: string }[] }): JSX.Element | null {
  if (!said.length) return null;
  return (
    <section class="banner caution" aria-labelledby="failures">
      <h2 id="failures">Scenes that could not be assessed</h2>
      <ul>{said.map((one) => <li key={one.name}><strong>{one.name}</strong>: {one.sentence}</li>)}</ul>
    </section>
  );
}
