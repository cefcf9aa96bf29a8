/** Follow a job: server-sent events, and asking every two seconds where they do not arrive. */

import type { Job } from "./answers";
import { isWaiting } from "./answers";
import { Refusal, ask, jobAddress } from "./requests";

const ASK_EVERY_MS = 2_000;
const SILENT_MS = 20_000;

export interface Follower {
  onStatus: (job: Job) => void;
  onTrouble: (error: unknown) => void;
}

/** Tell every status of a job until it is final; returns what stops it. */
export function follow(job: string, follower: Follower): () => void {
  let stopped = false;
  let heard = Date.now();
  let ticket = 0;
  const events = new EventSource(jobAddress(job, "events"), { withCredentials: true });

  function stop(): void {
    stopped = true;
    events.close();
    window.clearTimeout(ticket);
  }

  function tell(status: Job): void {
    if (stopped) return;
    heard = Date.now();
    if (!isWaiting(status)) stop();
    follower.onStatus(status);
  }

  async function look(): Promise<void> {
    const silent = events.readyState === EventSource.CLOSED || Date.now() - heard > SILENT_MS;
    try {
      if (silent) tell(await ask<Job>(jobAddress(job)));
    } catch (error) {
      if (stopped) return;
      follower.onTrouble(error);
      if (error instanceof Refusal && error.status >= 400 && error.status < 500) stop();
    }
    if (!stopped) ticket = window.setTimeout(() => void look(), ASK_EVERY_MS);
  }

  events.addEventListener("status", (event) => tell(JSON.parse((event as MessageEvent<string>).data) as Job));
  events.addEventListener("error", () => {
    heard = 0;
  });
  ticket = window.setTimeout(() => void look(), ASK_EVERY_MS);
  return stop;
}
