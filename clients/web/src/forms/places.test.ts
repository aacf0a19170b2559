// What the server refuses is shown at its field, and what a link says is filled in where it belongs.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { build } from "./build";
import { Catalogue } from "./catalogue";
import { emptyFields, type Fields, type Inner } from "./draft";
import { placeViolations, prefilled } from "./places";
import { specOf } from "./spec";

const catalogue = Catalogue.fromBytes(readFileSync("../../services/virtyard/api/descriptor.binpb"));
const nothing = { etag: "", requestId: "", validateOnly: false, changes: [] };

function form(name: string, values: Record<string, string> = {}) {
  const desc = catalogue.operation(name)!.method.input;
  const specs = specOf(catalogue, desc);
  return { desc, specs, draft: prefilled(specs, emptyFields(specs), Object.entries(values)) };
}

function place(name: string, values: Record<string, string>, fields: string[]) {
  const { specs, draft } = form(name, values);
  return placeViolations(catalogue, specs, draft, fields.map((field) => ({ field, description: "no" })));
}

test("a refused field is shown at its widget, in items of lists too", () => {
  const values = { "disks[1].size_bytes": "1G" };
  expect(place("CreateVirtualMachine", values, ["virtual_machine.memory_bytes", "disks[1].size_bytes", "virtual_machine.labels"])).toEqual({
    errors: { "virtual_machine.memory_bytes": "no", "disks[1].size_bytes": "no", "virtual_machine.labels": "no" },
    others: [],
  });
});

test("what lies inside a widget is said with its path, and what no widget shows comes on top", () => {
  expect(place("CreateVirtualMachine", {}, ["disks[3].size_bytes", "virtual_machine", "page_size"])).toEqual({
    errors: { disks: "[3].size_bytes: no" },
    others: [
      { field: "virtual_machine", description: "no" },
      { field: "page_size", description: "no" },
    ],
  });
});

test("a name that is refused in a list of references is shown at that list", () => {
  expect(place("CreateServerPool", { servers: "servers/s1,servers/s2" }, ["servers[1]"]).errors).toEqual({ "servers[1]": "no" });
});

test("a field of the request inside a schedule is shown in the form inside", () => {
  const { specs, draft } = form("CreateSchedule");
  const inner = form("RenameVirtualMachine");
  (draft.schedule as Fields).request = { type: inner.desc.typeName, fields: inner.draft } satisfies Inner;
  const { errors } = placeViolations(catalogue, specs, draft, [{ field: "schedule.request.name", description: "no" }]);
  expect(errors).toEqual({ "schedule.request.name": "no" });
});

test("a link fills in fields by their paths, or by the name that stands at the top", () => {
  const { desc, draft } = form("CreateVirtualMachine", {
    virtual_machine_id: "web",
    server_pool: "serverPools/Finance",
    "virtual_machine.memory_bytes": "1G",
    "virtual_machine.boot.kernel_path": "/boot/vmlinuz",
    "disks[0].repository": "repositories/shared",
    "disks[0].allocation": "full",
    "vnics[0].network": "user",
    nonsense: "x",
  });
  const { message, errors } = build(catalogue, desc, draft, nothing);
  expect(errors).toEqual({});
  expect(message).toMatchObject({
    virtualMachineId: "web",
    virtualMachine: { serverPool: "serverPools/Finance", memoryBytes: 1073741824n, boot: { kernelPath: "/boot/vmlinuz" } },
    disks: [{ repository: "repositories/shared", allocation: 2 }],
    vnics: [{ network: 1 }],
  });
});

test("a link chooses the member of a oneof that it fills in", () => {
  const { desc, draft } = form("ImportImage", { image_id: "iso", server_path: "/srv/a.iso" });
  const { message } = build(catalogue, desc, draft, nothing);
  expect(message).toMatchObject({ imageId: "iso", source: { case: "serverPath", value: "/srv/a.iso" } });
});
