// An operation that is run again has its form filled in as it was, on top of how its object is now.
import { readFileSync } from "node:fs";
import { fromJson, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { expect, test } from "vitest";
import { Catalogue } from "../forms/catalogue";
import { draftOf, emptyFields, type Fields } from "../forms/draft";
import { changedField, specOf } from "../forms/spec";
import { asBefore, objectNamed } from "./earlier";

const catalogue = Catalogue.fromBytes(readFileSync("../../services/virtyard/api/descriptor.binpb"));
const desc = catalogue.operation("UpdateFilter")!.method.input;
const specs = specOf(catalogue, desc);
const asked = (fields: object): Message => fromJson(desc, fields as never, { registry: catalogue.registry });

/** The form of an update before anything is said: the object as it is. */
function present(object: object): Fields {
  const changed = changedField(desc)!;
  const control = specs.find((spec) => spec.name === changed.name)!.control;
  if (control.kind !== "message") throw new Error("an update has an object");
  const message = fromJson(changed.message!, object as never, { registry: catalogue.registry });
  return { ...emptyFields(specs), [changed.name]: draftOf(catalogue, control.fields, reflect(changed.message!, message)) };
}

const NOW = { name: "filters/slow", matches: "title:Create", description: "since Monday", limitPerMinute: 3 };

test("what an update named is as it was asked for, and all else as it is now", () => {
  const before = asked({ filter: { name: "filters/slow", matches: "title:Start", description: "long ago" }, updateMask: "matches" });
  const form = asBefore(catalogue, desc, specs, present(NOW), before)["filter"];
  expect(form).toMatchObject({ name: "filters/slow", matches: "title:Start", description: "since Monday", limit_per_minute: "3" });
});

test("an update that named nothing changed all that it set", () => {
  const before = asked({ filter: { name: "filters/slow", description: "long ago" } });
  const form = asBefore(catalogue, desc, specs, present(NOW), before)["filter"];
  expect(form).toMatchObject({ matches: "title:Create", description: "long ago", limit_per_minute: "3" });
});

test("the object of a request is found inside it", () => {
  expect(objectNamed(desc, asked({ filter: { name: "filters/slow" } }), "filter.name")).toBe("filters/slow");
  expect(objectNamed(desc, asked({}), "")).toBe("");
});
