// The first steps follow the inventory: what is there is done, and each form is filled in with it.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ImageFormat, ImageSchema, ImageState } from "../api/virtyard/api/inventory/v1/image_pb";
import { RepositorySchema, RepositoryState } from "../api/virtyard/api/inventory/v1/repository_pb";
import { ServerSchema, ServerState } from "../api/virtyard/api/inventory/v1/server_pb";
import { ServerPoolSchema, ServerPoolState } from "../api/virtyard/api/inventory/v1/server_pool_pb";
import { VirtualMachineSchema, VirtualMachineState } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { consoleOf, nextStep, stepsOf, type Inventory } from "./steps";

const EMPTY: Inventory = { servers: [], serverPools: [], repositories: [], images: [], virtualMachines: [] };
const servers = ["servers/s1", "servers/s2"].map((name) => create(ServerSchema, { name, state: ServerState.ONLINE }));
const pool = create(ServerPoolSchema, { name: "serverPools/p", state: ServerPoolState.ACTIVE });
const repository = create(RepositorySchema, { name: "repositories/r", state: RepositoryState.READY, serverPool: pool.name });
const image = create(ImageSchema, { name: "images/i", state: ImageState.READY, format: ImageFormat.ISO });
const stopped = create(VirtualMachineSchema, { name: "virtualMachines/first", state: VirtualMachineState.STOPPED });

function fields(inventory: Inventory, step: string): Record<string, string> {
  const way = stepsOf(inventory).find(({ id }) => id === step)!.ways[0]!;
  return Object.fromEntries(new URL(way.path, "http://here").searchParams);
}

test("an empty site begins with a server, and nothing else can be done yet", () => {
  const steps = stepsOf(EMPTY);
  expect(nextStep(steps)?.id).toBe("servers");
  expect(steps.filter((step) => step.ways.length > 0).map((step) => step.id)).toEqual(["servers"]);
});

test("a server that is offline is no server to begin with", () => {
  const offline = create(ServerSchema, { name: "servers/s1", state: ServerState.OFFLINE });
  expect(nextStep(stepsOf({ ...EMPTY, servers: [offline] }))?.id).toBe("servers");
});

test("the pool's form takes the servers that are in no pool", () => {
  const inPool = create(ServerSchema, { name: "servers/s3", state: ServerState.ONLINE, serverPool: "serverPools/q" });
  expect(fields({ ...EMPTY, servers: [...servers, inPool] }, "pool")).toMatchObject({ servers: "servers/s1,servers/s2" });
});

test("the machine's form takes pool and repository, and boots the image if there is one", () => {
  const site = { ...EMPTY, servers, serverPools: [pool], repositories: [repository] };
  expect(nextStep(stepsOf(site))?.id).toBe("machine");
  expect(fields(site, "machine")).toMatchObject({ server_pool: "serverPools/p", "disks[0].repository": "repositories/r", "disks[0].size_bytes": "4G" });
  expect(fields(site, "machine")).not.toHaveProperty("cdrom");
  expect(fields({ ...site, images: [image] }, "machine")).toMatchObject({ cdrom: "images/i" });
});

test("the way ends with a machine that runs, whose console is shown", () => {
  const site = { ...EMPTY, servers, serverPools: [pool], repositories: [repository], virtualMachines: [stopped] };
  expect(nextStep(stepsOf(site))?.id).toBe("start");
  expect(fields(site, "start")).toEqual({ object: "virtualMachines/first" });
  const running = create(VirtualMachineSchema, { ...stopped, state: VirtualMachineState.RUNNING });
  expect(nextStep(stepsOf({ ...site, virtualMachines: [running] }))).toBeUndefined();
  expect(consoleOf({ ...site, virtualMachines: [running] })).toBe("/machines/first/console");
});
