// The catalogue of operation types, asked of the gateway once for this tab.
import { useEffect, useState } from "react";
import { Catalogue } from "../forms/catalogue";
import { problemOf, type Problem } from "../ui/problem";

/** Where the gateway serves the descriptor set, with the operation types of other packages. */
const ADDRESS = "/descriptor.binpb";

let loading: Promise<Catalogue> | undefined;
let loaded: Catalogue | undefined;

async function load(): Promise<Catalogue> {
  const answer = await fetch(ADDRESS);
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status} for ${ADDRESS}`);
  loaded = Catalogue.fromBytes(new Uint8Array(await answer.arrayBuffer()));
  return loaded;
}

/** The catalogue once it is there, or what was in the way of it. */
export function useCatalogue(): { catalogue: Catalogue | undefined; problem: Problem | undefined; retry: () => void } {
  const [catalogue, setCatalogue] = useState(loaded);
  const [problem, setProblem] = useState<Problem>();
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let left = false;
    loading ??= load();
    loading.then(
      (found) => !left && setCatalogue(found),
      (error: unknown) => {
        // The next one who asks tries anew.
        loading = undefined;
        if (!left) setProblem(problemOf(error));
      },
    );
    return () => {
      left = true;
    };
  }, [attempt]);
  const retry = () => {
    setProblem(undefined);
    setAttempt(attempt + 1);
  };
  return { catalogue, problem, retry };
}
