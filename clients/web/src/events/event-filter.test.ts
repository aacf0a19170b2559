// That what is picked becomes a filter and survives the address, and that the archive is told from the live log.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../api/virtyard/api/inventory/v1/event_pb";
import { addressOfFilter, emptyWords, exportText, filterOfAddress, filterText, NO_FILTER } from "./event-filter";
import { canAcknowledge } from "./standing";

test("a filter is the same after a way through the address", () => {
  const filter = { ...NO_FILTER, severity: "WARNING", object: "virtualMachines/web", until: "2026-03-01T12:00", archived: true };
  expect(filterOfAddress(new URLSearchParams(addressOfFilter(filter).toString()))).toEqual(filter);
  expect(addressOfFilter(NO_FILTER).size).toBe(0);
  expect(filterOfAddress(new URLSearchParams("archived=no")).archived).toBe(false);
});

test("the archive is asked for beside the filter, and by it where both are exported", () => {
  const filter = { ...NO_FILTER, severity: "WARNING", type: "JOB_FAILED" };
  const text = 'severity >= WARNING AND type = "JOB_FAILED"';
  expect(filterText({ ...filter, archived: true })).toBe(text);
  expect(exportText(filter)).toBe(`${text} AND archived = false`);
  expect(exportText({ ...NO_FILTER, archived: true })).toBe("archived = true");
});

test("an empty list says whether the archive is empty, or only what is asked of it", () => {
  expect(emptyWords({ ...NO_FILTER, type: "JOB_FAILED" })).toBe("No event matches.");
  expect(emptyWords({ ...NO_FILTER, archived: true })).toMatch(/^The archive has no events/);
  expect(emptyWords({ ...NO_FILTER, type: "JOB_FAILED", archived: true })).toBe("No archived event matches.");
});

test("an event that was archived while it was open cannot be acknowledged any more", () => {
  expect(canAcknowledge(create(EventSchema, { open: true }))).toBe(true);
  expect(canAcknowledge(create(EventSchema, { open: true, archived: true }))).toBe(false);
  expect(canAcknowledge(create(EventSchema, {}))).toBe(false);
});
