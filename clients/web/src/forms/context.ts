// What every widget of a form reads: the catalogue, the draft and how to change it, and what is wrong by field.
import { createContext, use } from "react";
import type { Carrying, Errors } from "./build";
import type { Catalogue } from "./catalogue";
import { at, pathText, type Draft, type Fields, type Path } from "./draft";

/** A form as its widgets see it. */
export interface FormState {
  catalogue: Catalogue;
  draft: Fields;
  errors: Errors;
  carrying: Carrying;
  /** Puts a value at a path of the draft. */
  change: (path: Path, value: Draft) => void;
  /** Whether the fields that can be said only once are fixed, as of an object that is there. */
  fixed: boolean;
  setRequestId: (id: string) => void;
}

export const FormContext = createContext<FormState | undefined>(undefined);

/** The form around a widget. */
export function useForm(): FormState {
  const form = use(FormContext);
  if (!form) throw new Error("there is no form above this widget");
  return form;
}

/** The draft of one widget, how to change it, and what is wrong with it. */
export function useField<D extends Draft>(path: Path): { value: D; change: (value: D) => void; error: string | undefined; id: string } {
  const form = useForm();
  const text = pathText(path);
  return {
    value: at(form.draft, path) as D,
    change: (value) => form.change(path, value),
    error: form.errors[text],
    id: `field-${text}`,
  };
}
