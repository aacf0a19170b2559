// That a page which has slept notices it when it wakes, by the clock alone, and is told once.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { browser } from "./connection";

const HOUR_MS = 3_600_000;
let page: EventTarget & { hidden: boolean };
let window: EventTarget;

beforeEach(() => {
  vi.useFakeTimers();
  page = Object.assign(new EventTarget(), { hidden: false });
  window = new EventTarget();
  vi.stubGlobal("document", page);
  vi.stubGlobal("window", window);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** The clock goes on while nothing in the page runs, as when a lid is closed or the process is stopped. */
function sleep(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

it("a gap in the clock is a return, once, as soon as the page runs again", () => {
  const returned = vi.fn();
  const stop = browser.onReturn(returned);
  vi.advanceTimersByTime(10 * 60_000);
  expect(returned).not.toHaveBeenCalled();
  sleep(HOUR_MS);
  expect(returned).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1_000);
  expect(returned).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(10 * 60_000);
  expect(returned).toHaveBeenCalledTimes(1);
  sleep(HOUR_MS);
  vi.advanceTimersByTime(1_000);
  expect(returned).toHaveBeenCalledTimes(2);
  stop();
});

it("a page that was only busy, or whose clock was put back, has not slept", () => {
  const returned = vi.fn();
  const stop = browser.onReturn(returned);
  sleep(3_500);
  vi.advanceTimersByTime(1_000);
  sleep(-HOUR_MS);
  vi.advanceTimersByTime(1_000);
  expect(returned).not.toHaveBeenCalled();
  // From the new time on a gap counts as before.
  sleep(6_000);
  vi.advanceTimersByTime(1_000);
  expect(returned).toHaveBeenCalledTimes(1);
  stop();
});

it("a tab that is shown, thawed or online again has returned; one that is hidden has not, and one that is closed hears nothing", () => {
  const returned = vi.fn();
  const stop = browser.onReturn(returned);
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  expect(returned).not.toHaveBeenCalled();
  page.hidden = false;
  page.dispatchEvent(new Event("visibilitychange"));
  page.dispatchEvent(new Event("resume"));
  window.dispatchEvent(new Event("online"));
  expect(returned).toHaveBeenCalledTimes(3);
  stop();
  page.dispatchEvent(new Event("visibilitychange"));
  page.dispatchEvent(new Event("resume"));
  window.dispatchEvent(new Event("online"));
  sleep(HOUR_MS);
  vi.advanceTimersByTime(10_000);
  expect(returned).toHaveBeenCalledTimes(3);
});
