// Asking for the operation of a form: its plan first if wanted, then the run, once however often Run is pressed.
import { useEffect, useRef, useState } from "react";
import { useLocation, useNavigate } from "react-router";
import type { Plan } from "../api/virtyard/api/jobs/v1/plan_pb";
import type { OperationType } from "../forms/catalogue";
import { pathOf } from "../routes";
import { problemOf, type Problem } from "../ui/problem";
import { followOperation } from "./OperationToast";
import { isFirstPage } from "./came";
import { submit } from "./submit";
import type { OperationForm } from "./useOperationForm";

/** How the asking stands. */
export interface Run {
  busy: "" | "preview" | "run";
  problem: Problem | undefined;
  plan: Plan | undefined;
  /** Asks for the plan; true if there is one now. */
  preview: () => Promise<boolean>;
  start: () => Promise<void>;
}

export function useRun(operation: OperationType, form: OperationForm): Run {
  const [busy, setBusy] = useState<Run["busy"]>("");
  const [problem, setProblem] = useState<Problem>();
  const [plan, setPlan] = useState<Plan>();
  const [refusals, setRefusals] = useState(0);
  const asking = useRef(false);
  const navigate = useNavigate();
  const isFirst = isFirstPage(useLocation());

  // Once what is wrong is shown at the fields.
  useEffect(() => {
    if (refusals > 0) showFirstError();
  }, [refusals]);

  const ask = async (what: "preview" | "run") => {
    // The state of a second click may be that of before the first.
    if (asking.current) return undefined;
    setProblem(undefined);
    const request = form.request(what === "preview");
    if (!request) {
      setRefusals((count) => count + 1);
      return undefined;
    }
    asking.current = true;
    setBusy(what);
    try {
      return await submit(operation, request);
    } catch (error) {
      setProblem(form.refuse(problemOf(error)));
      setPlan(undefined);
      setRefusals((count) => count + 1);
      return undefined;
    } finally {
      asking.current = false;
      setBusy("");
    }
  };

  return {
    busy,
    problem,
    plan,
    preview: async () => {
      const answered = await ask("preview");
      setPlan(answered?.metadata.plan);
      return answered !== undefined;
    },
    start: async () => {
      const answered = await ask("run");
      if (!answered) return;
      followOperation(answered.name, operation.title);
      // Back to where it was asked for; a page that was opened by its address has nothing before it.
      if (isFirst) navigate(pathOf(answered.name));
      else navigate(-1);
    },
  };
}

const WRONG = [
  ":is(input, textarea, button)[aria-invalid=true]",
  "input[data-error]",
  // What is wrong with a list as a whole is said above its items.
  "fieldset [role=alert] ~ * :is(input, textarea, button)",
].map((widget) => `form ${widget}`);

/** Puts who fills in the form at the first field that is wrong; one that was folded away until now takes some frames. */
function showFirstError(frames = 60): void {
  const field = document.querySelector<HTMLElement>(WRONG.join(", "));
  if (!field) return;
  field.focus();
  if (document.activeElement !== field && frames > 0) requestAnimationFrame(() => showFirstError(frames - 1));
  else field.scrollIntoView({ block: "center" });
}
