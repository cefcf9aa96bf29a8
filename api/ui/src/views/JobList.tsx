/** All assessments of this caller, the newest first. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { written, NOWHERE } from "../address";
import type { Job, JobPage } from "../service/answers";
import { isWaiting } from "../service/answers";
import { address, ask, jobAddress, sentenceOf } from "../service/requests";
import { go } from "../state";
import { moment } from "../words";

const REFRESH_MS = 4_000;
const PAGE = 50;
const WORK: Record<Job["processID"], string> = { assess: "", adapt: "Adapting to ", suggest: "Suggesting units of " };

export function JobList(): JSX.Element {
  const [jobs, setJobs] = useState<Job[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [trouble, setTrouble] = useState("");

  async function load(): Promise<void> {
    try {
      const page = await ask<JobPage>(address(`v1/assessments?limit=${PAGE}`));
      setJobs(page.jobs);
      setNext(following(page));
      setTrouble("");
    } catch (error) {
      setTrouble(sentenceOf(error));
    }
  }
  async function more(): Promise<void> {
    const page = await ask<JobPage>(address(`v1/assessments?limit=${PAGE}&cursor=${encodeURIComponent(next!)}`));
    setJobs([...(jobs ?? []), ...page.jobs]);
    setNext(following(page));
  }
  async function remove(job: Job): Promise<void> {
    try {
      await ask<Job>(jobAddress(job.jobID), { method: "DELETE" });
      await load();
    } catch (error) {
      setTrouble(sentenceOf(error));
    }
  }

  useEffect(() => {
    void load();
  }, []);
  const moving = jobs?.some(isWaiting) ?? false;
  useEffect(() => {
    if (!moving) return undefined;
    const ticket = window.setInterval(() => void load(), REFRESH_MS);
    return () => window.clearInterval(ticket);
  }, [moving]);

  return (
    <section class="card" aria-labelledby="jobs-title">
      <h1 id="jobs-title">Assessments</h1>
      <p class="trouble" role="alert">{trouble}</p>
      {jobs?.length === 0 ? <Nothing /> : null}
      {jobs?.length ? (
        <div class="scroll"><table class="jobs">
          <thead><tr><th>Scenes</th><th>Status</th><th>Model</th><th>Sent</th><th><span class="unseen">Delete</span></th></tr></thead>
          <tbody>{jobs.map((job) => <Row key={job.jobID} job={job} onDelete={() => void remove(job)} />)}</tbody>
        </table></div>
      ) : null}
      {next ? <button type="button" onClick={() => void more()}>Earlier ones</button> : null}
    </section>
  );
}

/** The service's own link may name an address that only its proxy knows; the cursor in it is what counts. */
function following(page: JobPage): string | null {
  const link = page.links.find((one) => one.rel === "next");
  return link ? new URL(link.href, document.baseURI).searchParams.get("cursor") : null;
}

function Nothing(): JSX.Element {
  return (
    <>
      <p>Nothing was assessed yet.</p>
      <button type="button" class="main" onClick={() => go({ page: "start" })}>New assessment</button>
    </>
  );
}

function Row({ job, onDelete }: { job: Job; onDelete: () => void }): JSX.Element {
  const [asked, setAsked] = useState(false);
  const names = (job.inputs.image ?? []).map((file) => file.name);
  const scenes = names.length > 1 ? `${names[0]} and ${names.length - 1} more` : (names[0] ?? job.jobID);
  const name = `${WORK[job.processID]}${scenes}`;
  const to = { page: "job", job: job.jobID } as const;
  return (
    <tr>
      <th scope="row">
        <a href={written({ ...NOWHERE, ...to })} onClick={(event) => { event.preventDefault(); go(to); }}>{name}</a>
        {job.status === "failed" ? <span class="note">{job.problem?.detail ?? job.message}</span> : null}
      </th>
      <td><span class={`status ${job.status}`}>{job.status}{job.status === "running" ? ` ${job.progress} %` : ""}</span></td>
      <td>{job.model}</td>
      <td>{moment(job.created)}</td>
      <td class="n">
        {asked
          ? <span class="row"><button type="button" class="danger" onClick={onDelete}>Delete</button><button type="button" onClick={() => setAsked(false)}>Keep</button></span>
          : <button type="button" class="quiet" aria-label={`Delete ${name}`} onClick={() => setAsked(true)}>{isWaiting(job) ? "Cancel" : "Delete"}</button>}
      </td>
    </tr>
  );
}
