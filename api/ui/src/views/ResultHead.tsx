/** What was assessed, which of several scenes is looked at, and a link to this very view. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Result } from "../results/result";
import { announcement, look, place } from "../state";
import { moment } from "../words";

export function ResultHead({ result }: { result: Result }): JSX.Element {
  const { job } = result;
  const names = (job.inputs.image ?? []).map((file) => file.name);
  const acquired = result.summary.value?.scene.acquired ?? null;
  return (
    <div class="result-head">
      {names.length > 1 ? <SceneChoice names={names} /> : <h2 title={names[0]}>{names[0]}</h2>}
      <dl class="facts small">
        {names.length === 1 ? <div><dt>Picture taken</dt><dd>{moment(acquired) || "date unknown"}</dd></div> : null}
        <div><dt>Model</dt><dd>{job.model}</dd></div>
        <div><dt>Assessed</dt><dd>{moment(job.finished)}</dd></div>
      </dl>
      <CopyLink />
    </div>
  );
}

function SceneChoice({ names }: { names: string[] }): JSX.Element {
  return (
    <label class="field inline">
      Scene
      <select value={place.value.scene ?? ""} onChange={(event) => look({ scene: event.currentTarget.value || null, camera: null })}>
        <option value="">All {names.length} scenes</option>
        {names.map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}

function CopyLink(): JSX.Element {
  const [copied, setCopied] = useState(false);
  async function copy(): Promise<void> {
    // Only over https and on localhost may a page write the clipboard; elsewhere the address bar has it.
    await navigator.clipboard?.writeText(window.location.href);
    setCopied(true);
    announcement.value = navigator.clipboard ? "The link is copied." : "Copy the link from the address bar.";
    window.setTimeout(() => setCopied(false), 2_000);
  }
  return (
    <button type="button" onClick={() => void copy()}>
      {copied ? (navigator.clipboard ? "Copied" : "See the address bar") : "Copy link to this view"}
    </button>
  );
}
