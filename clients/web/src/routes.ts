// The screens of the console: each is loaded when it is first opened. Links are made here and in ui/pages.
import { lazy, type ComponentType, type LazyExoticComponent } from "react";
import { pageOf } from "./ui/pages";

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

/** Where a resource is shown: its own page, or the overview for what has none. */
export function pathOf(name: string): string {
  return pageOf(name) ?? "/";
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
