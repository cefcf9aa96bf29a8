/** Which model, and what it was measured to be worth. */

import type { JSX } from "preact";
import type { Model } from "../service/answers";

interface Field {
  models: Model[];
  name: string;
  chosen: Model | undefined;
  twoPictures: boolean;
  onName: (name: string) => void;
}

export function ModelField({ models, name, chosen, twoPictures, onName }: Field): JSX.Element {
  const lacking = chosen?.inputs.includes("pre") && !twoPictures;
  return (
    <section class="card" aria-label="Model">
      <label class="field">
        Model
        <select value={name} onChange={(event) => onName(event.currentTarget.value)}>
          <option value="auto">The one that errs least</option>
          {models.map((model) => (
            <option key={model.name} value={model.name}>
              {model.name}{model.inputs.includes("pre") ? " (two pictures)" : ""}
            </option>
          ))}
        </select>
      </label>
      {chosen ? (
        <div class="worth" aria-live="polite">
          <h2>{chosen.headline}</h2>
          <p class="sentence">{chosen.sentence}</p>
          <dl class="facts small">
            <div><dt>Bundle</dt><dd>{chosen.name}</dd></div>
            {chosen.activation ? <div><dt>Activation</dt><dd>{chosen.activation}</dd></div> : null}
            <div><dt>Pictures</dt><dd>{chosen.inputs.includes("pre") ? "before and after" : "after"}</dd></div>
          </dl>
          <p class="note">{chosen.warning ? <strong>{chosen.warning} </strong> : null}Licence: {chosen.licence}.</p>
          {lacking ? <p class="trouble">This model compares two pictures: add a scene before the storm.</p> : null}
        </div>
      ) : null}
    </section>
  );
}
