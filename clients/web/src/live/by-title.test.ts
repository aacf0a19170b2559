// That objects stay in the order of their names through changes, and that a change compares few of them.
import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { VirtualMachineSchema } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { byTitle } from "./by-title";
import type { AnyObject } from "./kinds";

const machine = (id: string, displayName = "") => create(VirtualMachineSchema, { name: `virtualMachines/${id}`, displayName });
const named = (objects: readonly AnyObject[]) => objects.map(({ name, displayName }) => displayName || name);

test("what is added, renamed and removed is where a whole sort would have it", () => {
  const items = new Map<string, AnyObject>();
  let shown: readonly AnyObject[] = [];
  // Numbers that look random, and are the same in each run.
  let seed = 7;
  const next = (below: number) => (seed = (seed * 16_807) % 2_147_483_647) % below;
  for (let step = 0; step < 400; step += 1) {
    const id = `m${next(60)}`;
    if (next(4) === 0) items.delete(`virtualMachines/${id}`);
    else items.set(`virtualMachines/${id}`, machine(id, `Machine ${next(30)}`));
    if (step % 3 === 0) shown = byTitle(items, shown);
  }
  shown = byTitle(items, shown);
  expect(named(shown)).toEqual(named(byTitle(items, [])));
  expect(new Set(shown)).toEqual(new Set(items.values()));
});

test("numbers in names count as numbers, and equal names go by their id", () => {
  const items = new Map([machine("b", "web 10"), machine("c", "Web 2"), machine("a", "web 10")].map((each) => [each.name, each as AnyObject]));
  expect(byTitle(items, []).map(({ name }) => name)).toEqual(["virtualMachines/c", "virtualMachines/a", "virtualMachines/b"]);
});

test("a change of one among ten thousand compares few names", () => {
  const items = new Map<string, AnyObject>();
  for (let number = 0; number < 10_000; number += 1) items.set(`virtualMachines/${number}`, machine(String(number), `Machine ${number}`));
  const shown = byTitle(items, []);
  const compared = vi.spyOn(Intl.Collator.prototype, "compare", "get");
  items.set("virtualMachines/77", machine("77", "Another"));
  const after = byTitle(items, shown);
  expect(after[0]?.displayName).toBe("Another");
  expect(after.length).toBe(10_000);
  expect(compared.mock.calls.length).toBeLessThan(40);
  compared.mockRestore();
});
