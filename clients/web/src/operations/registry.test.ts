// An object's page offers what can be done with it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Role } from "../api/virtyard/api/type/v1/annotations_pb";
import { Catalogue } from "../forms/catalogue";
import { covers, makers, operationsOn } from "./registry";

const catalogue = Catalogue.fromBytes(readFileSync("../../services/virtyard/api/descriptor.binpb"));

function offered(type: string): Record<string, string> {
  return Object.fromEntries(operationsOn(catalogue, type).map(({ operation, field, acts }) => [operation.name, `${acts ? "acts" : "uses"} ${field}`]));
}

test("a machine can be started, edited, given a disk and a card, and deleted at the end of the list", () => {
  const machine = offered("virtyard.io/VirtualMachine");
  expect(machine).toMatchObject({
    StartVirtualMachine: "acts name",
    EditVirtualMachine: "acts virtual_machine.name",
    AddVnic: "acts virtual_machine",
    AttachVirtualDisk: "acts virtual_machine",
    CreateVirtualDisk: "uses virtual_machine",
  });
  expect(Object.keys(machine).slice(-2).sort()).toEqual(["DeleteVirtualMachine", "KillVirtualMachine"]);
});

test("a pool is where machines and repositories are made", () => {
  expect(offered("virtyard.io/ServerPool")).toMatchObject({
    CreateVirtualMachine: "uses virtual_machine.server_pool",
    CreateRepository: "uses repository.server_pool",
    AddServerToServerPool: "acts name",
  });
  expect(offered("virtyard.io/Server")).toMatchObject({ CreateServerPool: "uses servers", StartVirtualMachine: "uses server" });
});

test("each operation type is offered somewhere: on an object, or among those that make something new", () => {
  const types = ["Server", "ServerPool", "Cluster", "HeartbeatDevice", "Repository", "VirtualDisk", "VirtualMachine", "Vnic"];
  types.push("Network", "Image", "Trigger", "Schedule", "Filter", "Webhook");
  const somewhere = new Set(makers(catalogue).map((operation) => operation.name));
  for (const type of types) for (const { operation } of operationsOn(catalogue, `virtyard.io/${type}`)) somewhere.add(operation.name);
  expect(catalogue.operations.filter((operation) => !somewhere.has(operation.name)).map((operation) => operation.name)).toEqual([]);
});

test("a role covers those below it, and services and agents none of people's", () => {
  expect(covers([Role.OPERATOR], Role.OPERATOR)).toBe(true);
  expect(covers([Role.VIEWER], Role.OPERATOR)).toBe(false);
  expect(covers([Role.ADMINISTRATOR], Role.OPERATOR)).toBe(true);
  expect(covers([Role.AGENT], Role.OPERATOR)).toBe(false);
});
