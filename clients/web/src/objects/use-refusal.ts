// Why an operation would be refused, asked for while somebody wants to know and not before.
import { useEffect, useState } from "react";
import type { AnyObject } from "../live";
import type { ObjectOperation } from "../operations/registry";
import type { ObjectKind } from "./kinds";
import { whyNot } from "./refusal";

// A job changes an object several times in a row; its last state is the one to ask about.
const SETTLE_MS = 300;

/** The reason once it is known of the object as it is now; undefined before, or if nobody wants to know. */
export function useRefusal(operation: ObjectOperation, kind: ObjectKind, object: AnyObject, wanted: boolean): string | undefined {
  const [known, setKnown] = useState<{ version: string; reason: string }>();
  // What only others know of it, as the cards on a network, is in no etag, and in what is allowed.
  const allowed = object.activity?.allowedOperations.length;
  const version = `${operation.operation.fullName} ${object.uid} ${object.generation} ${object.state} ${object.etag} ${allowed}`;
  const asked = known?.version === version;
  const first = known === undefined;
  useEffect(() => {
    if (!wanted || asked) return undefined;
    const abort = new AbortController();
    const ask = () =>
      whyNot(operation, kind, object, abort.signal).then((reason) => {
        if (!abort.signal.aborted) setKnown({ version, reason });
      });
    const timer = setTimeout(() => void ask(), first ? 0 : SETTLE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [wanted, version, asked]);
  return asked ? known.reason : undefined;
}
