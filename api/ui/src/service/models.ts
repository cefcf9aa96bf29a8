/** The bundles that may be chosen. */

import type { Model } from "./answers";
import { address, ask } from "./requests";

type Said = Record<string, unknown>;

/** Return all bundles of the service, in its order. */
export async function readModels(): Promise<Model[]> {
  const answer = await ask<Said | Said[]>(address("v1/models"));
  const rows = Array.isArray(answer) ? answer : (answer.models as Said[]);
  return rows.map(model);
}

function model(said: Said): Model {
  const card = (said.card ?? {}) as Said;
  const network = (card.model ?? {}) as Said;
  const training = (card.training_tiles ?? {}) as Said;
  return {
    name: String(said.name ?? card.name),
    headline: String(said.headline ?? card.headline ?? ""),
    sentence: String(said.sentence ?? card.sentence ?? ""),
    licence: String(said.licence ?? card.licence ?? ""),
    nonCommercial: Boolean(said.non_commercial ?? training.non_commercial),
    activation: activation(said.activation ?? network.activation),
    inputs: ((said.inputs ?? card.inputs ?? ["post"]) as string[]).map(String),
  };
}

/** A card says name and parameters; `default` is the architecture's own. */
function activation(said: unknown): string {
  const name = typeof said === "object" && said !== null ? (said as Said).name : said;
  return name === "default" ? "the architecture's own" : String(name ?? "");
}

/** Return the bundle that `auto` stands for; see damagenet/options.py. */
export function resolved(models: readonly Model[], name: string, twoPictures: boolean): Model | undefined {
  const wanted = name === "auto" ? (twoPictures ? "harvey-pair" : "harvey-event") : name;
  return models.find((one) => one.name === wanted);
}
