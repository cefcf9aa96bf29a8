import { expect, test } from "vitest";
import { NOWHERE, read, written } from "../src/address";
import type { Place } from "../src/address";

const VIEW: Place = {
  page: "job",
  job: "0123456789abcdef0123456789abcdef",
  scene: "a scene & more, of (two).tif",
  camera: { lon: -95.25, lat: 29.75, zoom: 15.5 },
  threshold: 0.4,
  hidden: ["undamaged", "not-judged"],
  area: [[-95.1, 29.1], [-95, 29.1], [-95, 29.2]],
  unit: "id=1&x;,+#é",
  order: "doubt",
  colouring: "verdict",
  swipe: 0.25,
  versus: "fedcba9876543210fedcba9876543210",
};

test("a link reopens the view it was copied from", () => {
  expect(read(written(VIEW))).toEqual(VIEW);
});

test("what is as usual is left out of a link", () => {
  expect(written({ ...NOWHERE, page: "job", job: "ab" })).toBe("#job=ab");
  expect(read("#job=ab")).toEqual({ ...NOWHERE, page: "job", job: "ab" });
});

test("what makes no sense in a link is passed over", () => {
  expect(read("#job=../../models")).toEqual(NOWHERE);
  expect(read("#job=ab&t=7&at=200,0,3&area=1,2;3&swipe=&hide=nonsense&order=up&versus=a/b")).toEqual({
    ...NOWHERE,
    page: "job",
    job: "ab",
  });
});

test("the list of jobs and the start have addresses of their own", () => {
  expect(written(read("#jobs"))).toBe("#jobs");
  expect(written(read(""))).toBe("#");
});
