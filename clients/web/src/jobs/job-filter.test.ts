// That what is typed into the fields becomes a filter, and survives the address.
import { expect, test } from "vitest";
import { addressOfFilter, filterOfAddress, filterText, isPartial, NO_FILTER } from "./job-filter";

test("a filter is the same after a way through the address", () => {
  const filter = { ...NO_FILTER, state: "RUNNING", object: "virtualMachines/web", since: "2026-03-01T12:00", archived: true };
  expect(filterOfAddress(new URLSearchParams(addressOfFilter(filter).toString()))).toEqual(filter);
  expect(addressOfFilter(NO_FILTER).size).toBe(0);
});

test("each field becomes a comparison, and all of them must hold", () => {
  const since = "2026-03-01T12:00";
  const text = filterText({ ...NO_FILTER, state: "FAILED", title: "Disk", user: "ann", object: "virtualMachines/web", since });
  expect(text).toBe(`state = FAILED AND title:"Disk" AND principal:"ann" AND object = "virtualMachines/web" AND create_time >= ${new Date(since).toISOString()}`);
  expect(filterText({ ...NO_FILTER, object: "web" })).toBe('object:"web"');
  expect(filterText({ ...NO_FILTER, object: "virtualMachines/" })).toBe('object:"virtualMachines/"');
  expect(filterText(NO_FILTER)).toBe("");
});

test("several states are any of them, and leave the rest of the filter alone", () => {
  const text = filterText({ ...NO_FILTER, state: "PENDING,WAITING_FOR_LOCKS,NO_SUCH_STATE", object: "virtualMachines/web" });
  expect(text).toBe('(state = PENDING OR state = WAITING_FOR_LOCKS) AND object = "virtualMachines/web"');
});

test("what is typed cannot leave its quotes, and a state that does not exist asks nothing", () => {
  expect(filterText({ ...NO_FILTER, title: 'a" OR state = FAILED OR title:"\\' })).toBe('title:"a\\" OR state = FAILED OR title:\\"\\\\"');
  expect(filterText({ ...NO_FILTER, state: "RUNNING OR state" })).toBe("");
});

test("a filter over who and when lets whole operations pass", () => {
  expect(isPartial({ ...NO_FILTER, user: "ann", since: "2026-03-01T12:00" })).toBe(false);
  expect(isPartial({ ...NO_FILTER, state: "FAILED" })).toBe(true);
});
