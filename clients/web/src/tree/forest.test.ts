// The navigation tree from objects: who is below whom, what is open, what a search leaves, and what keys do.
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { NetworkSchema } from "../api/virtyard/api/inventory/v1/network_pb";
import { RepositorySchema } from "../api/virtyard/api/inventory/v1/repository_pb";
import { ServerSchema } from "../api/virtyard/api/inventory/v1/server_pb";
import { ServerPoolSchema } from "../api/virtyard/api/inventory/v1/server_pool_pb";
import { VirtualMachineSchema } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { buildForest, visibleRows, type Site, type TreeRow } from "./forest";
import { moveFor, rowOf, rowTyped } from "./keys";

const machine = (id: string, server = "") =>
  create(VirtualMachineSchema, { name: `virtualMachines/${id}`, displayName: id, serverPool: "serverPools/p", server });

const SITE: Site = {
  serverPools: [create(ServerPoolSchema, { name: "serverPools/p", displayName: "Finance" })],
  servers: [
    create(ServerSchema, { name: "servers/s1", serverPool: "serverPools/p" }),
    create(ServerSchema, { name: "servers/s2" }),
  ],
  virtualMachines: [machine("db", "servers/s1"), machine("web")],
  repositories: [create(RepositorySchema, { name: "repositories/r" })],
  networks: [create(NetworkSchema, { name: "networks/n" })],
};

const drawn = (rows: readonly TreeRow[]) => rows.map(({ node, level }) => `${"  ".repeat(level - 1)}${node.label}`);
const NONE: ReadonlyMap<string, boolean> = new Map();

describe("the navigation tree", () => {
  it("puts machines below the server on which they run, and the others below their pool", () => {
    expect(drawn(visibleRows(buildForest(SITE), NONE))).toEqual([
      "Server pools",
      "  Finance",
      "    s1",
      "      db",
      "    Not running",
      "      web",
      "Servers without a pool",
      "  s2",
      "Repositories",
      "  r",
      "Networks",
      "  n",
    ]);
  });

  it("leaves what a search is for, with the way to it, whether that was open or not", () => {
    const closed = new Map([["pools", false]]);
    expect(drawn(visibleRows(buildForest(SITE), closed, "DB"))).toEqual(["Server pools", "  Finance", "    s1", "      db"]);
    expect(visibleRows(buildForest(SITE), closed, "nothing")).toEqual([]);
  });

  it("closes at first what has too much below it", () => {
    const many = { ...SITE, virtualMachines: Array.from({ length: 10_000 }, (_, n) => machine(`m${n}`)) };
    const rows = visibleRows(buildForest(many), NONE);
    expect(rows.length).toBeLessThan(20);
    const open = new Map([["rest of serverPools/p", true]]);
    expect(visibleRows(buildForest(many), open).length).toBeGreaterThan(10_000);
  });

  it("says the place of each row among its siblings", () => {
    const rows = visibleRows(buildForest(SITE), NONE);
    expect(rows.filter(({ level }) => level === 1).map(({ position, siblings }) => [position, siblings])).toEqual([
      [1, 4],
      [2, 4],
      [3, 4],
      [4, 4],
    ]);
  });
});

describe("keys in the tree", () => {
  const rows = visibleRows(buildForest(SITE), NONE);

  it("go down, up, to both ends, into what is open and out to what is above", () => {
    expect(moveFor("ArrowDown", rows, 0)).toEqual({ go: 1 });
    expect(moveFor("ArrowUp", rows, 0)).toEqual({ go: 0 });
    expect(moveFor("End", rows, 0)).toEqual({ go: rows.length - 1 });
    expect(moveFor("ArrowRight", rows, 0)).toEqual({ go: 1 });
    expect(moveFor("ArrowLeft", rows, 3)).toEqual({ go: 2 });
    expect(moveFor("ArrowLeft", rows, 2)).toEqual({ open: false });
    expect(moveFor("Enter", rows, 3)).toEqual({ visit: true });
  });

  it("open what is closed before they go into it, and leave other keys alone", () => {
    const closed = visibleRows(buildForest(SITE), new Map([["pools", false]]));
    expect(moveFor("ArrowRight", closed, 0)).toEqual({ open: true });
    expect(moveFor("ArrowRight", rows, 3)).toBeUndefined();
    expect(moveFor("Tab", rows, 0)).toBeUndefined();
  });

  it("find by the first letters, in turn for one letter and where it stands for more", () => {
    const label = (index: number | undefined) => index === undefined ? undefined : rows[index]!.node.label;
    expect(label(rowTyped(rows, 0, "s"))).toBe("s1");
    expect(label(rowTyped(rows, 2, "S"))).toBe("Servers without a pool");
    expect(label(rowTyped(rows, 2, "se"))).toBe("Servers without a pool");
    expect(label(rowTyped(rows, rows.length - 1, "s"))).toBe("Server pools");
    expect(rowTyped(rows, 0, "x")).toBeUndefined();
    expect(rowTyped(rows, 0, "")).toBeUndefined();
  });
});

describe("the row that keys act on", () => {
  it("stays with its object, goes to what closes over it, and to what stands in its place when it is gone", () => {
    const forest = buildForest(SITE);
    const rows = visibleRows(forest, NONE);
    expect(rows[rowOf(rows, forest, "virtualMachines/db", 0)]!.node.label).toBe("db");
    const closed = visibleRows(forest, new Map([["servers/s1", false]]));
    expect(closed[rowOf(closed, forest, "virtualMachines/db", 0)]!.node.label).toBe("s1");
    expect(rowOf(rows, forest, "virtualMachines/gone", 4)).toBe(4);
    expect(rowOf(rows, forest, "virtualMachines/gone", 400)).toBe(rows.length - 1);
    expect(rowOf(rows, forest, undefined, 0)).toBe(0);
    expect(rowOf([], forest, undefined, 0)).toBe(-1);
  });
});
