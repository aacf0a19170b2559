// Asking for the operation of a form: its plan first if wanted, then the run, once however often Run is pressed.
import { useRef, useState } from "react";
import { useLocation, useNavigate } from "react-router";
import type { Plan } from "../api/virtyard/api/jobs/v1/plan_pb";
import type { OperationType } from "../forms/catalogue";
import { pathOf } from "../routes";
import { problemOf, type Problem } from "../ui/problem";
import { followOperation } from "./OperationToast";
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
  const asking = useRef(false);
  const navigate = useNavigate();
  const { key } = useLocation();

  const ask = async (what: "preview" | "run") => {
    // The state of a second click may be that of before the first.
    if (asking.current) return undefined;
    setProblem(undefined);
    const request = form.request(what === "preview");
    if (!request) {
      showFirstError();
      return undefined;
    }
    asking.current = true;
    setBusy(what);
    try {
      return await submit(operation, request);
    } catch (error) {
      const rest = form.refuse(problemOf(error));
      const wrong = problemOf(error).fields.length - rest.fields.length;
      setProblem(wrong > 0 ? { ...rest, message: wordsFor(wrong) } : rest);
      setPlan(undefined);
      showFirstError();
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
      if (key === "default") navigate(pathOf(answered.name));
      else navigate(-1);
    },
  };
}

function wordsFor(wrong: number): string {
  return wrong === 1 ? "One field is to be put right; it says why." : `${wrong} fields are to be put right; each says why.`;
}

/** Brings the first field that is wrong into sight, once it is shown as such. */
function showFirstError(): void {
  setTimeout(() => {
    const field = document.querySelector<HTMLElement>("form [aria-invalid=true], form [data-error]");
    field?.focus();
    field?.scrollIntoView({ block: "center" });
  }, 50);
}
