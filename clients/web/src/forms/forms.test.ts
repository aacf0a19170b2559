// Every operation type has a form: a widget with a label and help for each field, none that falls back to JSON, and
// what is filled in comes out as the message that it stands for.
import { readFileSync } from "node:fs";
import { toJson, type DescMessage } from "@bufbuild/protobuf";
import { reflect, type ReflectList, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { describe, expect, test } from "vitest";
import { build, changesBetween, type Carrying } from "./build";
import { Catalogue } from "./catalogue";
import { draftOf, emptyFields, nextId, type Draft, type Fields } from "./draft";
import { specOf, type Control, type FieldSpec } from "./spec";

const catalogue = Catalogue.fromBytes(readFileSync("../../services/virtyard/api/descriptor.binpb"));
const nothing: Carrying = { etag: "", requestId: "", validateOnly: false, changes: [] };

/** Every field of a form, those inside messages, lists, maps and oneofs as well. */
function* everyField(specs: readonly FieldSpec[], owner: string): Iterable<[string, FieldSpec]> {
  for (const spec of specs) {
    yield [`${owner}.${spec.name}`, spec];
    yield* inside(spec.control, `${owner}.${spec.name}`);
  }
}

function* inside(control: Control, owner: string): Iterable<[string, FieldSpec]> {
  if (control.kind === "message") yield* everyField(control.fields, owner);
  if (control.kind === "list") yield* inside(control.item.control, `${owner}[]`);
  if (control.kind === "map") yield* everyField([control.key, control.value], owner);
  if (control.kind === "oneof") yield* everyField(control.members, owner);
}

/** The fields that a form could say and a message has not, without what the form itself carries. */
function* unset(specs: readonly FieldSpec[], message: ReflectMessage): Iterable<[string, string]> {
  for (const spec of specs) {
    const { control } = spec;
    if (["etag", "request_id", "preview", "changes"].includes(control.kind)) continue;
    const name = control.kind === "oneof" ? control.members.at(-1)!.name : spec.name;
    const field = message.desc.fields.find((known) => known.name === name)!;
    if (!message.isSet(field)) yield [message.desc.typeName, name];
    else if (control.kind === "message") yield* unset(control.fields, message.get(field) as ReflectMessage);
    else if (control.kind === "list" && control.item.control.kind === "message") {
      for (const item of message.get(field) as ReflectList<ReflectMessage>) yield* unset(control.item.control.fields, item);
    }
  }
}

function request(name: string): DescMessage {
  return catalogue.operation(name)!.method.input;
}

describe.each(catalogue.operations.map((type) => [type.name, type] as const))("%s", (_, type) => {
  const desc = type.method.input;
  const specs = specOf(catalogue, desc);

  test("has a widget with a label and help for each field, and none is JSON", () => {
    const covered = new Set(specs.flatMap((spec) => (spec.control.kind === "oneof" ? spec.control.members : [spec])).map((spec) => spec.name));
    expect([...covered].sort()).toEqual(desc.fields.map((field) => field.name).sort());
    const fields = [...everyField(specs, desc.name)];
    expect(fields.filter(([, spec]) => spec.control.kind === "json").map(([path]) => path)).toEqual([]);
    for (const [path, spec] of fields) {
      expect(spec.label, path).toMatch(/\S/);
      expect(spec.help, path).toMatch(/\S/);
    }
  });

  test("comes back whole: what is filled in everywhere is built, read into a new form, and built again", () => {
    const filled = fill(specs);
    const first = build(catalogue, desc, filled, nothing);
    expect(first.errors).toEqual({});
    for (const [path, field] of unset(specs, reflect(desc, first.message))) expect.fail(`${path}.${field} was filled in and is not sent`);
    const again = build(catalogue, desc, draftOf(catalogue, specs, reflect(desc, first.message)), nothing);
    expect(again.errors).toEqual({});
    expect(toJson(desc, again.message, { registry: catalogue.registry })).toEqual(
      toJson(desc, first.message, { registry: catalogue.registry }),
    );
  });
});

/** A draft with something in every widget. */
function fill(specs: readonly FieldSpec[]): Fields {
  const fields = emptyFields(specs);
  for (const spec of specs) {
    if (spec.control.kind === "oneof") {
      const member = spec.control.members.at(-1)!;
      fields[`?${spec.name}`] = member.name;
      fields[member.name] = filling(member);
    } else {
      fields[spec.name] = filling(spec);
    }
  }
  return fields;
}

function filling(spec: FieldSpec): Draft {
  const { control } = spec;
  switch (control.kind) {
    case "reference":
      return `${catalogue.resource(control.type)!.prefix}one`;
    case "references":
      return [`${catalogue.resource(control.type)!.prefix}one`, `${catalogue.resource(control.type)!.prefix}two`];
    case "size":
      return "1.5G";
    case "span":
      return "1h30m";
    case "percent":
      return "40%";
    case "integer":
      return String(control.least > 0n ? control.least : 7n);
    case "number":
      return "0.5";
    case "duration":
      return "90s";
    case "time":
      return "2030-01-31T18:00:30";
    case "bytes":
      return "AAEC";
    case "paths":
      return "name, labels";
    case "choice":
      return String(control.choices.at(-1)!.number);
    case "message":
      return fill(control.fields);
    case "list":
      return [1, 2].map(() => ({ id: nextId(), value: filling(control.item) }));
    case "map":
      return ["a", "b"].map((key) => ({ id: nextId(), key, value: filling(control.value) }));
    case "truth":
      return spec.presence ? "yes" : true;
    case "request":
      return { type: request("RenameVirtualMachine").typeName, fields: fill(specOf(catalogue, request("RenameVirtualMachine"))) };
    case "etag":
    case "request_id":
    case "preview":
    case "changes":
      return typeof emptyFields([spec])[spec.name] === "boolean" ? false : "";
    default:
      return "some text";
  }
}

test("a form says by the field's path what is missing or wrong, in lists too", () => {
  const desc = request("CreateVirtualMachine");
  const specs = specOf(catalogue, desc);
  const draft = emptyFields(specs);
  (draft.virtual_machine as Fields).memory_bytes = "plenty";
  (draft.virtual_machine as Fields).cpus = "65";
  const disk = specs.find((spec) => spec.name === "disks")!.control as Control & { kind: "list" };
  const item = emptyFields((disk.item.control as Control & { kind: "message" }).fields);
  draft.disks = [
    { id: nextId(), value: { ...item, repository: "shared", size_bytes: "4G" } },
    { id: nextId(), value: { ...item, repository: "servers/s1", size_bytes: "4Gx" } },
  ];
  const { errors } = build(catalogue, desc, draft, nothing);
  expect(Object.keys(errors).sort()).toEqual([
    "disks[1].repository",
    "disks[1].size_bytes",
    "virtual_machine.cpus",
    "virtual_machine.memory_bytes",
    "virtual_machine_id",
  ]);
  expect(errors["virtual_machine.cpus"]).toContain("from 1 to 64");
});

test("an update names what was changed, sends the etag that was read, and nothing else as changed", () => {
  const desc = request("UpdateServer");
  const specs = specOf(catalogue, desc);
  const before = emptyFields(specs);
  (before.server as Fields).name = "servers/s1";
  (before.server as Fields).etag = true;
  const server = { ...(before.server as Fields), description: "the left one" };
  const after = { ...before, server: { ...server, labels: [{ id: nextId(), key: "rack", value: "7" }] } };
  const changes = changesBetween(desc, before, after);
  const { message, errors } = build(catalogue, desc, after, { ...nothing, etag: "abc", changes, requestId: "1" });
  expect(errors).toEqual({});
  expect(toJson(desc, message)).toEqual({
    server: { name: "servers/s1", description: "the left one", etag: "abc", labels: { rack: "7" } },
    updateMask: "labels,description",
    requestId: "1",
  });
});

test("the request inside a schedule carries nothing of the form around it", () => {
  const desc = request("CreateSchedule");
  const draft = fill(specOf(catalogue, desc));
  const { message } = build(catalogue, desc, draft, { ...nothing, requestId: "outer", validateOnly: true });
  const json = toJson(desc, message, { registry: catalogue.registry }) as { schedule: { request: object } };
  expect(json).toMatchObject({ requestId: "outer", validateOnly: true });
  expect(json.schedule.request).toMatchObject({ "@type": expect.stringContaining("RenameVirtualMachineRequest") });
  expect(json.schedule.request).not.toHaveProperty("requestId");
  expect(json.schedule.request).not.toHaveProperty("validateOnly");
});
