/** The reader of one result: all units as columns, and one at a time with its attributes. */

import type { Feature } from "geojson";
import { Refusal, refusal } from "../service/requests";
import type { Units } from "./units";

type Answer = { units: Units } | { refused: number; text: string } | { unit: number; feature: Feature };

export class Reader {
  private readonly worker = new Worker(new URL("./reading.worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, (feature: Feature) => void>();

  /** Read a result; raises the Refusal where there is none. */
  read(url: string): Promise<Units> {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = (event: MessageEvent<Answer>) => {
        const answer = event.data;
        if ("units" in answer) resolve(answer.units);
        else if ("refused" in answer) reject(refusal(answer.refused, answer.text));
        else this.waiting.get(answer.unit)?.(answer.feature);
      };
      this.worker.onerror = () => reject(new Refusal(0, "this browser could not read the results"));
      this.worker.postMessage({ read: url });
    });
  }

  /** Return one unit as it stands in the file, with the caller's own columns. */
  describe(unit: number): Promise<Feature> {
    return new Promise((resolve) => {
      this.waiting.set(unit, resolve);
      this.worker.postMessage({ describe: unit });
    });
  }

  close(): void {
    this.worker.terminate();
  }
}
