// The serial log is shown as text, however its bytes are cut.
import { expect, test } from "vitest";
import { cutAt, linesWith, MOST_LINES, SerialText } from "./serialText";

const bytes = (text: string) => new TextEncoder().encode(text);

test("lines come out the same however the bytes are cut, without a terminal's sequences", () => {
  const log = bytes("\u001b[1;31mred\u001b[0m\r\nzwölf \u001b]0;title\u0007plain\r\n\tend");
  for (let cut = 0; cut <= log.length; cut += 1) {
    const text = new SerialText();
    text.add(log.slice(0, cut));
    text.add(log.slice(cut));
    expect(text.read().lines, `cut at ${cut}`).toEqual(["red", "zwölf plain", "\tend"]);
  }
});

test("the last lines are kept, and it is known how many are not", () => {
  const text = new SerialText();
  text.add(bytes(Array.from({ length: MOST_LINES + 10 }, (_, index) => `line ${index}`).join("\n")));
  const { lines, dropped } = text.read();
  expect([lines.length, dropped, lines[0]]).toEqual([MOST_LINES, 10, "line 10"]);
});

test("a search finds lines and the places in them, whatever the case", () => {
  expect(linesWith(["Kernel panic", "ok", "panic"], "PANIC")).toEqual([0, 2]);
  expect(linesWith(["a"], "")).toEqual([]);
  expect(cutAt("a Panic, panic", "panic")).toEqual(["a ", "Panic", ", ", "panic", ""]);
});
