/** Where an assessment begins: files, model, options, and what the model is worth. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Model } from "../service/answers";
import { readModels, resolved } from "../service/models";
import { sentenceOf } from "../service/requests";
import type { Role } from "../service/sending";
import { ROLES, randomId, sendAssessment, totalBytes } from "../service/sending";
import { go } from "../state";
import { FileField } from "./FileField";
import { ModelField } from "./ModelField";
import { OptionFields, inPageWords, optionsOf } from "./OptionFields";
import { size } from "../words";

const NO_FILES: Record<Role, File[]> = { image: [], pre: [], buildings: [], exclude: [] };

export function Start(): JSX.Element {
  const [files, setFiles] = useState(NO_FILES);
  const [models, setModels] = useState<Model[]>([]);
  const [name, setName] = useState("auto");
  const [sent, setSent] = useState<[number, number] | null>(null);
  const [trouble, setTrouble] = useState("");
  const stopper = useRef<AbortController | null>(null);
  const key = useRef(randomId());

  useEffect(() => {
    readModels().then(setModels).catch((error: unknown) => setTrouble(sentenceOf(error)));
  }, []);

  function put(role: Role, chosen: File[]): void {
    key.current = randomId();
    setFiles({ ...files, [role]: chosen });
  }

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (!files.image.length) {
      setTrouble("Choose at least one scene first.");
      document.getElementById("file-image")?.focus();
      return;
    }
    const options = { ...optionsOf(event.target as HTMLFormElement), ...(name === "auto" ? {} : { model: name }) };
    stopper.current = new AbortController();
    setTrouble("");
    setSent([0, totalBytes(files)]);
    try {
      const watcher = { signal: stopper.current.signal, onProgress: (done: number, all: number) => setSent([done, all]) };
      const job = await sendAssessment({ files, options, key: key.current }, watcher);
      go({ page: "job", job: job.jobID });
    } catch (error) {
      setSent(null);
      const stopped = error instanceof DOMException && error.name === "AbortError";
      setTrouble(stopped ? "" : inPageWords(sentenceOf(error)));
    }
  }

  const chosen = resolved(models, name, files.pre.length > 0);
  return (
    <form class="new" onSubmit={(event) => void submit(event)} onChange={() => (key.current = randomId())} noValidate>
      <div class="lead">
        <h1>Which buildings did the storm damage?</h1>
        <p>Give a satellite or aerial picture taken after the storm. Every building, or every cell of a grid, gets a probability of damage on a map.</p>
      </div>
      <div class="drops">
        {ROLES.map((role) => <FileField key={role} role={role} files={files[role]} onFiles={(some) => put(role, some)} />)}
      </div>
      <div class="side">
        <ModelField models={models} name={name} chosen={chosen} twoPictures={files.pre.length > 0} onName={setName} />
        <OptionFields />
        {trouble ? <p class="trouble" role="alert">{trouble}</p> : null}
        {sent ? (
          <Sending sent={sent[0]} total={sent[1]} onStop={() => stopper.current?.abort()} />
        ) : (
          <button class="main wide">Assess{files.image.length > 1 ? ` ${files.image.length} scenes` : ""}</button>
        )}
      </div>
    </form>
  );
}

function Sending({ sent, total, onStop }: { sent: number; total: number; onStop: () => void }): JSX.Element {
  const all = sent >= total;
  return (
    <div class="sending">
      <p id="sending">{all ? "All is sent; the service checks the files." : `Sent ${size(sent)} of ${size(total)}`}</p>
      <progress max={total || 1} value={all ? undefined : sent} aria-labelledby="sending" />
      <button type="button" onClick={onStop}>Stop</button>
    </div>
  );
}
