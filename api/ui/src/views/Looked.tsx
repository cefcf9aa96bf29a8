/** What was looked at: the unit's picture under a map of what moved the network's number. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Result } from "../results/result";
import { send, sentenceOf } from "../service/requests";

interface Method {
  name: string;
  title: string;
  /** What the map shows, and what it must not be taken for. */
  words: string;
}

const METHODS: Method[] = [
  { name: "grad_cam", title: "Where", words: "Red spoke for damage, green-blue against it. Coarse: a place is several metres wide." },
  { name: "integrated_gradients", title: "Pixels", words: "What each pixel added (red) or took away (green-blue). Noisy: neighbours cancel out." },
  { name: "guided_backprop", title: "Edges", words: "Edge evidence only: it looks sharp and hardly depends on the verdict." },
];

type Answer = { address: string; picture: string } | { address: string; refused: string };

export function Looked({ result, id }: { result: Result; id: string }): JSX.Element {
  const open = useSignal(false);
  const method = useSignal(METHODS[0]!);
  return (
    <div class="looked">
      <button type="button" aria-expanded={open.value} onClick={() => { open.value = !open.value; }}>What was looked at</button>
      {open.value ? (
        <>
          <div class="row answers" role="group" aria-label="Method">
            {METHODS.map((one) => (
              <button type="button" key={one.name} aria-pressed={one === method.value} onClick={() => { method.value = one; }}>{one.title}</button>
            ))}
          </div>
          <Explanation address={result.address(`explanations/${encodeURIComponent(id)}.png?method=${method.value.name}`)} words={method.value.words} />
        </>
      ) : null}
    </div>
  );
}

function Explanation({ address, words }: { address: string; words: string }): JSX.Element {
  const answer = useSignal<Answer | null>(null);
  const figure = useRef<HTMLElement>(null);
  useEffect(() => {
    const gone = new AbortController();
    let picture = "";
    send(address, { signal: gone.signal })
      .then((sent) => sent.blob())
      .then((blob) => {
        if (gone.signal.aborted) return;
        picture = URL.createObjectURL(blob);
        answer.value = { address, picture };
      })
      .catch((error: unknown) => {
        if (!gone.signal.aborted) answer.value = { address, refused: sentenceOf(error) };
      });
    return () => {
      gone.abort();
      URL.revokeObjectURL(picture);
    };
  }, [address]);
  const found = answer.value?.address === address ? answer.value : null;
  if (!found) return <p class="note" role="status">Looking ...</p>;
  if ("refused" in found) return <p class="note" role="status">{found.refused}</p>;
  return (
    <figure ref={figure}>
      <a href={address} target="_blank" rel="noopener" title="Open in its full size"><img src={found.picture} alt="Left the ground, right the same ground under the map" onLoad={() => figure.current?.scrollIntoView({ block: "nearest" })} /></a>
      <figcaption>{words} <strong>No proof:</strong> it says what moved the number, not whether the verdict is right.</figcaption>
    </figure>
  );
}
