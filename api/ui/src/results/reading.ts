/** The reader of one result: all units as columns, single ones with their attributes, and tiles. */

import type { Feature } from "geojson";
import { Refusal, refusal } from "../service/requests";
import type { Answer, Asked } from "./reading.worker";
import type { Units } from "./units";

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export class Reader {
  private readonly worker = new Worker(new URL("./reading.worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private asked = 0;

  constructor() {
    this.worker.onmessage = (event: MessageEvent<Answer>) => {
      const answer = event.data;
      const waiting = this.waiting.get(answer.number);
      this.waiting.delete(answer.number);
      if ("refused" in answer) waiting?.reject(refusal(answer.refused, answer.text));
      else waiting?.resolve(answer.value);
    };
    this.worker.onerror = () => {
      for (const { reject } of this.waiting.values()) reject(new Refusal(0, "this browser could not read the results"));
      this.waiting.clear();
    };
  }

  /** Read a result; raises the Refusal where there is none. */
  read(url: string): Promise<Units> {
    return this.ask({ read: url });
  }

  /** Return one unit as it stands in the file, with the caller's own columns. */
  describe(unit: number): Promise<Feature> {
    return this.ask({ describe: unit });
  }

  /** Return a vector tile of all units. */
  tile(z: number, x: number, y: number): Promise<ArrayBuffer> {
    return this.ask({ tile: [z, x, y] });
  }

  close(): void {
    this.worker.terminate();
  }

  private ask<T>(asked: Asked): Promise<T> {
    this.asked += 1;
    const number = this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve: resolve as Waiting["resolve"], reject });
      this.worker.postMessage({ number, asked });
    });
  }
}
