/** The bundles that may be chosen. */

import type { Model } from "./answers";
import { address, ask } from "./requests";

type Said = Record<string, unknown>;

/** Return all bundles that can be used, in the service's order. */
export async function readModels(): Promise<Model[]> {
  const answer = await ask<Said>(address("v1/models"));
  return (answer.models as Said[]).filter((one) => one.card).map(model);
}

function model(said: Said): Model {
  const card = said.card as Said;
  return {
    name: String(said.name),
    headline: String(card.headline),
    sentence: String(card.sentence),
    licence: String(card.licence),
    warning: card.licence_warning === null ? "" : String(card.licence_warning),
    activation: card.activation === "default" ? "the architecture's own" : String(card.activation),
    inputs: card.inputs as string[],
  };
}

/** Return the bundle that `auto` stands for; see damagenet/options.py. */
export function resolved(models: readonly Model[], name: string, twoPictures: boolean): Model | undefined {
  const wanted = name === "auto" ? (twoPictures ? "harvey-pair" : "harvey-event") : name;
  return models.find((one) => one.name === wanted);
}
