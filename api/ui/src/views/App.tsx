/** The frame of the page: its head, the one view that is open, what is said aloud. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Place } from "../address";
import { needsKey, sentenceOf } from "../service/requests";
import { closeSession, readSession, session } from "../service/session";
import { announcement, go, place } from "../state";
import { theme, toggleTheme } from "../theme";
import { JobList } from "./JobList";
import { JobView } from "./JobView";
import { KeyEntry } from "./KeyEntry";
import { Start } from "./Start";

const TITLES: Record<Place["page"], string> = {
  start: "New assessment",
  jobs: "Assessments",
  job: "Damage map",
};

export function App(): JSX.Element {
  const { page, job } = place.value;
  useEffect(() => {
    document.title = `${TITLES[page]} · damagenet`;
    document.getElementById("main")?.focus({ preventScroll: true });
  }, [page, job]);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    readSession().catch((error: unknown) => setTrouble(sentenceOf(error)));
  }, []);
  return (
    <>
      <a class="skip" href="#main" onClick={toMain}>Skip to content</a>
      <header class="head">
        <a class="brand" href="#" onClick={leadsTo({ page: "start" })}>damagenet</a>
        <nav aria-label="Pages">
          <PageLink to="start">New assessment</PageLink>
          <PageLink to="jobs">Assessments</PageLink>
        </nav>
        {session.value?.key ? <button type="button" class="quiet" onClick={() => void closeSession()}>Leave</button> : null}
        <button type="button" class="quiet" onClick={toggleTheme}>
          {theme.value === "dark" ? "Light mode" : "Dark mode"}
        </button>
      </header>
      <main id="main" tabIndex={-1} class={page}>
        {trouble ? <p class="trouble" role="alert">{trouble}</p> : null}
        {needsKey.value ? <KeyEntry /> : session.value ? <View page={page} job={job} /> : null}
      </main>
      <div class="unseen" role="status" aria-live="polite">{announcement.value}</div>
    </>
  );
}

function View({ page, job }: Pick<Place, "page" | "job">): JSX.Element {
  if (page === "start") return <Start />;
  return page === "jobs" ? <JobList /> : <JobView key={job} id={job!} />;
}

/** The hash belongs to the view, so that this link may not change it. */
function toMain(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function leadsTo(to: Partial<Place>): (event: Event) => void {
  return (event) => {
    event.preventDefault();
    go(to);
  };
}

function PageLink({ to, children }: { to: "start" | "jobs"; children: ComponentChildren }): JSX.Element {
  const here = place.value.page === to;
  return (
    <a href={to === "jobs" ? "#jobs" : "#"} aria-current={here ? "page" : undefined} onClick={leadsTo({ page: to })}>
      {children}
    </a>
  );
}
