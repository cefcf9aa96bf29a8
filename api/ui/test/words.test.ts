import { expect, test } from "vitest";
import { inPageWords } from "../src/views/OptionFields";
import { asSentence, duration, headOf, percent, size } from "../src/words";

test("the head of a trust sentence fits on a badge", () => {
  expect(headOf("Not calibrated for this event: probabilities were calibrated on 1.5 houses.")).toBe("Not calibrated for this event");
  expect(headOf("This scene looks like the training ground: distance 0.9.")).toBe("This scene looks like the training ground");
});

test("sizes and times are short", () => {
  expect([size(999), size(4_000_000), size(123_456_789)]).toEqual(["999 B", "4.0 MB", "123 MB"]);
  expect([duration(0.2), duration(90), duration(7_300)]).toEqual(["1 s", "2 min", "2 h 2 min"]);
  expect([percent(1, 100), percent(50, 100), percent(0, 0)]).toEqual(["1.0 %", "50 %", ""]);
});

test("a sentence begins with a capital, a file name stays as it is", () => {
  expect([asSentence("the picture is odd"), asSentence("scene.tif has 1 band")]).toEqual(["The picture is odd", "scene.tif has 1 band"]);
});

test("options of the command line are called as on the page", () => {
  expect(inPageWords("a.png has no CRS: pass --pixel-size, or --pre FILE, or --no-such")).toBe(
    "a.png has no CRS: pass “Metres per pixel”, or “Scene before the storm” FILE, or --no-such",
  );
});
