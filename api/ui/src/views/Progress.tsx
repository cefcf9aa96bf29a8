/** A job that waits or runs: how far it is, how fast, how long it takes. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Job, Step } from "../service/answers";
import { ask, jobAddress, sentenceOf } from "../service/requests";
import { announcement, go } from "../state";
import { count, duration } from "../words";

const STAGES: Record<Step["stage"], string> = {
  assessing: "Looking at every unit",
  writing: "Writing the files",
  mapping: "Making the map",
  adapting: "Fitting the model to your labels",
  suggesting: "Looking for the units most worth labelling",
};

export function Progress({ job, trouble }: { job: Job; trouble: string }): JSX.Element {
  const [refused, setRefused] = useState("");
  const [asked, setAsked] = useState(false);
  const step = job.step;
  const stage = step ? STAGES[step.stage] : "Waiting for a free worker";
  const speed = useSpeed(step);
  useEffect(() => {
    announcement.value = stage;
  }, [stage]);

  async function cancel(): Promise<void> {
    try {
      await ask<Job>(jobAddress(job.jobID), { method: "DELETE" });
      go({ page: "jobs" });
    } catch (error) {
      setRefused(sentenceOf(error));
    }
  }

  return (
    <section class="card narrow" aria-labelledby="stage">
      <p class="note">{(job.inputs.image ?? []).map((file) => file.name).join(", ")}</p>
      <h1 id="stage">{stage}</h1>
      <progress max={100} value={job.status === "accepted" ? undefined : job.progress} aria-labelledby="stage" />
      <dl class="facts">
        {step && step.scenes > 1 ? <Fact name="Scene">{`${step.number} of ${step.scenes}`}</Fact> : null}
        <Fact name="Done">{`${job.progress} %`}</Fact>
        {step?.units_total && step.stage !== "adapting" ? <Fact name="Units">{`${count(step.units_done)} of ${count(step.units_total)}`}</Fact> : null}
        {speed ? <Fact name="Speed">{`${count(Math.round(speed))} units/s`}</Fact> : null}
        <Fact name="Time left">{step?.seconds_left == null ? "not known yet" : `about ${duration(step.seconds_left)}`}</Fact>
        <Fact name="Model">{job.model}</Fact>
      </dl>
      {trouble ? <p class="trouble">{trouble}</p> : null}
      <p class="note">You may close this page: the work goes on, and this address shows it again.</p>
      {asked ? (
        <div class="row" role="group" aria-label="Stop the work?">
          <button type="button" class="danger" onClick={() => void cancel()}>Stop it and delete its files</button>
          <button type="button" onClick={() => setAsked(false)}>Go on</button>
        </div>
      ) : (
        <button type="button" onClick={() => setAsked(true)}>Cancel</button>
      )}
      <p class="trouble" role="alert">{refused}</p>
    </section>
  );
}

export function Fact({ name, children }: { name: string; children: string }): JSX.Element {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

/** Return units per second over what was seen of this scene so far. */
function useSpeed(step: Step | null): number {
  const first = useRef<{ scene: string; done: number; at: number } | null>(null);
  if (!step?.units_total || step.stage !== "assessing") return 0;
  if (first.current?.scene !== step.scene) first.current = { scene: step.scene, done: step.units_done, at: Date.now() };
  const seconds = (Date.now() - first.current.at) / 1000;
  return seconds > 0.5 ? (step.units_done - first.current.done) / seconds : 0;
}
