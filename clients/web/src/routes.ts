// The screens of the console: each is loaded when it is first opened. Links are made here too, so that a path is written once.
import { lazy, type ComponentType, type LazyExoticComponent } from "react";

export interface Screen {
  readonly path: string;
  readonly Page: LazyExoticComponent<ComponentType>;
}

export const SCREENS: readonly Screen[] = [
  { path: "/", Page: lazy(() => import("./home/HomePage")) },
  { path: "/objects/:collection", Page: lazy(() => import("./objects/CollectionPage")) },
  { path: "/objects/:collection/:id", Page: lazy(() => import("./objects/ObjectPage")) },
  { path: "/jobs", Page: lazy(() => import("./jobs/JobsPage")) },
  { path: "/jobs/recurring", Page: lazy(() => import("./recurring/RecurringPage")) },
  { path: "/jobs/:operation", Page: lazy(() => import("./jobs/OperationPage")) },
  { path: "/events", Page: lazy(() => import("./events/EventsPage")) },
  { path: "/locks", Page: lazy(() => import("./locks/LocksPage")) },
  { path: "/run/:method", Page: lazy(() => import("./operations/RunPage")) },
  { path: "/first-run", Page: lazy(() => import("./first-run/FirstRunPage")) },
  { path: "/machines/:id/console", Page: lazy(() => import("./machine-console/MachineConsolePage")) },
  { path: "*", Page: lazy(() => import("./shell/NotFoundPage")) },
];

/** Where a resource is shown: `servers/s1`, `operations/12`, `jobs/12-3`, `events/7`. */
export function pathOf(name: string): string {
  const [collection = "", id = ""] = name.split("/");
  switch (collection) {
    case "operations":
      return `/jobs/${id}`;
    case "jobs":
      return `/jobs/${id.split("-")[0]}?job=${encodeURIComponent(id)}`;
    case "events":
      return `/events?event=${encodeURIComponent(id)}`;
    default:
      return `/objects/${collection}/${encodeURIComponent(id)}`;
  }
}

/** Where an operation type is run, with fields filled in: `runPath("StartVirtualMachine", { name: "virtualMachines/web" })`. */
export function runPath(method: string, fields: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(fields).toString();
  return `/run/${method}${query && `?${query}`}`;
}

/** Where a machine's screen and serial log are shown. */
export function consolePath(machine: string): string {
  return `/machines/${encodeURIComponent(machine.slice(machine.indexOf("/") + 1))}/console`;
}
