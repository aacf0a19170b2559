// The catalogue finds every operation type of the shipped descriptor set, with its comments.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Catalogue } from "./catalogue";
import { specOf } from "./spec";

const catalogue = Catalogue.fromBytes(readFileSync("../../services/virtyard/api/descriptor.binpb"));

test("every rpc of the operation service is an operation type with a title and a comment", () => {
  const own = catalogue.operations.filter((type) => type.fullName.startsWith("virtyard.api.operations.v1."));
  expect(own.length).toBe(own[0]!.method.parent.methods.length);
  expect(own.length).toBeGreaterThanOrEqual(50);
  for (const type of own) expect(type.comment, type.name).toMatch(/\.$/);
});

test("every resource type can be listed and read", () => {
  const server = catalogue.resource("virtyard.io/Server");
  expect(server?.prefix).toBe("servers/");
  expect(server?.list?.name).toBe("ListServers");
  expect(server?.get?.name).toBe("GetServer");
  expect(catalogue.resourceOf("virtualMachines/web")?.type).toBe("virtyard.io/VirtualMachine");
});

test("an operation type that was not there when the console was built has a form as well", () => {
  const added = readFileSync("../../tests/extension/example/noop/descriptor.binpb");
  const both = Catalogue.fromBytes(Buffer.concat([readFileSync("../../services/virtyard/api/descriptor.binpb"), added]));
  const type = both.operation("NoOp")!;
  expect(type).toMatchObject({ fullName: "example.noop.v1.NoOpService.NoOp", title: "No Operation" });
  const [server, target, hold] = specOf(both, type.method.input);
  expect(server).toMatchObject({ label: "Server", required: true, control: { kind: "reference", type: "virtyard.io/Server" } });
  expect(target!.help).toBe("The one name that is locked meanwhile; the server itself if empty.");
  expect(hold).toMatchObject({ label: "Hold milliseconds", control: { kind: "integer" } });
});
