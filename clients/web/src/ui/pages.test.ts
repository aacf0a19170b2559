// That resources lead to their screens, and that nothing else looks like one.
import { expect, test } from "vitest";
import { pageOf } from "./pages";

test("a resource has the page of its kind", () => {
  expect(pageOf("virtualMachines/web")).toBe("/objects/virtualMachines/web");
  expect(pageOf("operations/12")).toBe("/jobs/12");
  expect(pageOf("jobs/12-3")).toBe("/jobs/12?job=12-3");
});

test("people, and keys of steps, have none", () => {
  for (const name of ["user/ann", "13/1/3", "web", ""]) expect(pageOf(name)).toBeUndefined();
});
