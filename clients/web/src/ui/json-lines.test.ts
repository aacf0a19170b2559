// That an export is a line of JSON for each message, and nothing at all where the stream breaks.
import { create, fromJsonString } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ErrorInfoSchema } from "../api/google/rpc/error_details_pb";
import { StatusSchema } from "../api/google/rpc/status_pb";
import { EventSchema } from "../api/virtyard/api/inventory/v1/event_pb";
import { jsonLines } from "./json-lines";
import { DETAILS } from "./problem";

test("each message is a line, whatever is in it, and reads back as it was", async () => {
  const cause = create(StatusSchema, { message: "no", details: [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: "WRONG_STATE" }))] });
  const events = [create(EventSchema, { name: "events/2", message: "two\nlines", causes: [cause] }), create(EventSchema, { name: "events/1", archived: true })];
  const blob = await jsonLines(EventSchema, (async function* () { yield* events; })());
  const lines = (await blob.text()).split("\n");
  expect(lines.pop()).toBe("");
  expect(lines.map((line) => fromJsonString(EventSchema, line, { registry: DETAILS }))).toEqual(events);
});

test("a stream that has nothing is an empty file, and one that breaks is none", async () => {
  expect((await jsonLines(EventSchema, (async function* () {})())).size).toBe(0);
  const broken = async function* () {
    yield create(EventSchema, { name: "events/1" });
    throw new Error("the gateway is gone");
  };
  await expect(jsonLines(EventSchema, broken())).rejects.toThrow("the gateway is gone");
});
