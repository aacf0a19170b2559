// The object that a form is about, and reading it as it is now.
import type { Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { useEffect, useState } from "react";
import type { Catalogue, OperationType } from "../forms/catalogue";
import { optionsOf } from "../forms/options";
import { changedField } from "../forms/spec";
import { problemOf, type Problem } from "../ui/problem";
import { callUnary } from "./call";
import { operationsOn } from "./registry";

/** The values of a link with `object` as the field that it stands for. */
export function linkValues(catalogue: Catalogue, operation: OperationType, query: URLSearchParams): [string, string][] {
  return [...query].map(([key, value]) => {
    if (key !== "object") return [key, value];
    const type = catalogue.resourceOf(value)?.type ?? "";
    const found = operationsOn(catalogue, type).find((known) => known.operation === operation);
    return [found?.field ?? "name", value];
  });
}

/** The field of a request that names the one object whose etag it may carry; undefined if there is none. */
export function objectField(operation: OperationType): string | undefined {
  const changed = changedField(operation.method.input);
  if (changed) return `${changed.name}.name`;
  const names = operation.method.input.fields.map((field) => field.name);
  if (!names.includes("etag")) return undefined;
  return operation.method.input.fields.find((field) => field.name === "name" && optionsOf(field).reference)?.name;
}

/** Whether a form has to know its object before anything can be said. */
export function needsObject(operation: OperationType): boolean {
  return changedField(operation.method.input) !== undefined;
}

/** What came of reading an object. */
export interface Loaded {
  message: Message | undefined;
  problem: Problem | undefined;
  loading: boolean;
}

/** An object read from the inventory; nothing is read while the name is empty. */
export function useLoaded(catalogue: Catalogue, name: string, attempt: number): Loaded {
  const [loaded, setLoaded] = useState<Loaded & { key: string }>({ message: undefined, problem: undefined, loading: true, key: "" });
  const key = `${name} ${attempt}`;
  useEffect(() => {
    const get = name ? catalogue.resourceOf(name)?.get : undefined;
    if (!get) {
      setLoaded({ message: undefined, problem: undefined, loading: false, key });
      return undefined;
    }
    const abort = new AbortController();
    const request = reflect(get.input);
    request.set(get.input.fields.find((field) => field.name === "name")!, name as never);
    callUnary(get, request.message, abort.signal).then(
      (message) => setLoaded({ message, problem: undefined, loading: false, key }),
      (error: unknown) => {
        if (!abort.signal.aborted) setLoaded({ message: undefined, problem: problemOf(error), loading: false, key });
      },
    );
    return () => abort.abort();
  }, [catalogue, name, key]);
  return loaded.key === key ? loaded : { message: undefined, problem: undefined, loading: true };
}
