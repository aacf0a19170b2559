// The fields of a message one below the other; a required message's own fields stand among them, advanced ones are folded.
import { Button, Collapse, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { useId } from "react";
import { useForm } from "./context";
import { pathText, type Path } from "./draft";
import { FieldView } from "./fields/FieldView";
import { STANDARD, type FieldSpec } from "./spec";

interface Row {
  spec: FieldSpec;
  path: Path;
}

export function FieldRows({ fields, path }: { fields: readonly FieldSpec[]; path: Path }) {
  const { errors } = useForm();
  const all = [...rows(fields, path)];
  const asked = all.filter(({ spec }) => !spec.advanced);
  const plain = [...asked.filter((row) => !isStandard(row)), ...asked.filter(isStandard)];
  const advanced = all.filter(({ spec }) => spec.advanced);
  const wrong = advanced.some((row) => Object.keys(errors).some((error) => error.startsWith(pathText(row.path))));
  return (
    <Stack gap="md">
      <Rows rows={plain} />
      {advanced.length > 0 && <Advanced rows={advanced} wrong={wrong} />}
    </Stack>
  );
}

function Rows({ rows }: { rows: readonly Row[] }) {
  return rows.map(({ spec, path }) => <FieldView key={pathText(path)} spec={spec} path={path} />);
}

function Advanced({ rows, wrong }: { rows: readonly Row[]; wrong: boolean }) {
  const [asked, { toggle }] = useDisclosure(false);
  const opened = asked || wrong;
  const id = useId();
  const Icon = opened ? IconChevronDown : IconChevronRight;
  return (
    <Stack gap="sm">
      <Button
        variant="subtle"
        color="gray"
        size="compact-sm"
        w="fit-content"
        leftSection={<Icon size={16} aria-hidden />}
        aria-expanded={opened}
        aria-controls={id}
        onClick={toggle}
      >
        Advanced
      </Button>
      <Collapse expanded={opened} id={id}>
        <Stack gap="md">
          <Rows rows={rows} />
        </Stack>
      </Collapse>
    </Stack>
  );
}

/** Whether a row is what every object has, which comes after what makes this one different. */
function isStandard({ spec }: Row): boolean {
  return STANDARD.has(spec.name);
}

function* rows(fields: readonly FieldSpec[], path: Path): Iterable<Row> {
  for (const spec of fields) {
    const { control } = spec;
    // The form's own button previews.
    if (control.kind === "preview") continue;
    if (control.kind === "message" && control.inline) yield* rows(control.fields, [...path, spec.name]);
    else if (control.kind === "oneof") yield { spec, path };
    else yield { spec, path: [...path, spec.name] };
  }
}
