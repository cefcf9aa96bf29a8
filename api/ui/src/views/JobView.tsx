/** One job, whatever it has come to. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Job } from "../service/answers";
import { isWaiting } from "../service/answers";
import { follow } from "../service/following";
import { ask, jobAddress, needsKey, sentenceOf } from "../service/requests";
import { announcement, go } from "../state";
import { Adapted } from "./Adapted";
import { inPageWords } from "./OptionFields";
import { Progress } from "./Progress";
import { ResultView } from "./ResultView";

const FAILED: Record<Job["processID"], string> = {
  assess: "It could not be assessed",
  adapt: "The model could not be adapted",
  suggest: "No unit could be suggested",
};

export function JobView({ id }: { id: string }): JSX.Element {
  const [job, setJob] = useState<Job | null>(null);
  const [trouble, setTrouble] = useState("");

  useEffect(() => {
    let stop = (): void => undefined;
    let gone = false;
    const hear = (status: Job): void => {
      setJob(status);
      setTrouble("");
      if (!isWaiting(status)) announcement.value = status.message || `This assessment is ${status.status}.`;
    };
    const fail = (error: unknown): void => setTrouble(sentenceOf(error));
    ask<Job>(jobAddress(id))
      .then((first) => {
        if (gone) return;
        hear(first);
        if (isWaiting(first)) stop = follow(id, { onStatus: hear, onTrouble: fail });
      })
      .catch(fail);
    return () => {
      gone = true;
      stop();
    };
  }, [id, needsKey.value]);

  if (!job) return <Waiting trouble={trouble} />;
  if (job.status === "failed" || job.status === "dismissed") return <Ended job={job} />;
  if (isWaiting(job)) return <Progress job={job} trouble={trouble} />;
  return job.processID === "adapt" ? <Adapted job={job} /> : <ResultView job={job} />;
}

function Waiting({ trouble }: { trouble: string }): JSX.Element {
  return trouble ? (
    <section class="card narrow">
      <h1>This assessment cannot be shown</h1>
      <p role="alert" class="trouble">{trouble}</p>
      <button type="button" onClick={() => go({ page: "jobs" })}>All assessments</button>
    </section>
  ) : (
    <p class="note" role="status">Looking for the assessment…</p>
  );
}

function Ended({ job }: { job: Job }): JSX.Element {
  const failed = job.status === "failed";
  const source = typeof job.options.assessment === "string" ? job.options.assessment : null;
  return (
    <section class="card narrow">
      <h1>{failed ? FAILED[job.processID] : "Dismissed"}</h1>
      <p class={failed ? "trouble" : ""} role={failed ? "alert" : undefined}>{inPageWords(job.problem?.detail ?? job.message)}</p>
      <p class="note">{(job.inputs.image ?? []).map((file) => file.name).join(", ")}</p>
      <div class="row">
        {source
          ? <button type="button" class="main" onClick={() => go({ page: "job", job: source })}>Back to the labels</button>
          : <button type="button" class="main" onClick={() => go({ page: "start" })}>New assessment</button>}
        <button type="button" onClick={() => go({ page: "jobs" })}>All assessments</button>
      </div>
    </section>
  );
}
