// The question which object an operation is about, asked before its form where the form shows the object as it is.
import { Button, Group, Paper, Stack } from "@mantine/core";
import { useState, type SyntheticEvent } from "react";
import type { Catalogue } from "../forms/catalogue";
import { FormContext } from "../forms/context";
import { withAt, type Fields } from "../forms/draft";
import { FieldView } from "../forms/fields/FieldView";
import type { FieldSpec } from "../forms/spec";

interface Props {
  catalogue: Catalogue;
  /** The field that names the object. */
  spec: FieldSpec;
  choose: (name: string) => void;
}

const NOTHING = { etag: "", requestId: "", validateOnly: false, changes: [] };

export function ChooseObject({ catalogue, spec, choose }: Props) {
  const [draft, setDraft] = useState<Fields>({ [spec.name]: "" });
  const [missing, setMissing] = useState(false);
  const typed = String(draft[spec.name]).trim();
  const go = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!typed) return setMissing(true);
    const prefix = spec.control.kind === "reference" ? catalogue.resource(spec.control.type)?.prefix : "";
    choose(typed.includes("/") ? typed : `${prefix}${typed}`);
  };
  return (
    <FormContext
      value={{
        catalogue,
        draft,
        errors: missing ? { [spec.name]: "is required" } : {},
        carrying: NOTHING,
        change: (path, value) => setDraft((before) => withAt(before, path, value) as Fields),
        fixed: false,
        setRequestId: () => {},
      }}
    >
      <Paper component="form" withBorder p="md" maw={720} onSubmit={go} noValidate>
        <Stack gap="md">
          <FieldView spec={spec} path={[spec.name]} />
          <Group>
            <Button type="submit">Continue</Button>
          </Group>
        </Stack>
      </Paper>
    </FormContext>
  );
}
