// A list of items, each with its widget: they can be added, removed and moved, as their order often counts.
import { ActionIcon, Fieldset, Group, Stack } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconTrash } from "@tabler/icons-react";
import { useField } from "../context";
import { emptyDraft, nextId, type Item, type Path } from "../draft";
import { FieldRows } from "../FieldRows";
import type { FieldSpec } from "../spec";
import { inSentence } from "../words";
import { FieldView, type FieldProps } from "./FieldView";
import { Several } from "./Several";

interface Props extends FieldProps {
  item: FieldSpec;
}

export function ListField({ spec, path, item }: Props) {
  const { value, change, error, id } = useField<Item[]>(path);
  const move = (from: number, to: number) => {
    const moved = [...value];
    moved.splice(to, 0, ...moved.splice(from, 1));
    change(moved);
  };
  return (
    <Several id={id} spec={spec} error={error} noun={inSentence(item.label)} onAdd={() => change([...value, { id: nextId(), value: emptyDraft(item.control) }])}>
      {value.map((entry, index) => (
        <Group key={entry.id} gap="xs" align="flex-start" wrap="nowrap">
          <ListItem spec={{ ...item, label: `${item.label} ${index + 1}`, help: item.control.kind === "message" ? item.help : "" }} path={[...path, index]} />
          <Tools
            label={`${item.label} ${index + 1}`}
            up={index > 0 ? () => move(index, index - 1) : undefined}
            down={index < value.length - 1 ? () => move(index, index + 1) : undefined}
            remove={() => change(value.filter(({ id: kept }) => kept !== entry.id))}
          />
        </Group>
      ))}
    </Several>
  );
}

function ListItem({ spec, path }: { spec: FieldSpec; path: Path }) {
  const { control } = spec;
  if (control.kind !== "message") {
    return (
      <Stack flex={1} miw={0}>
        <FieldView spec={spec} path={path} />
      </Stack>
    );
  }
  return (
    <Fieldset legend={spec.label} variant="filled" radius="sm" p="sm" flex={1} miw={0}>
      <FieldRows fields={control.fields} path={path} />
    </Fieldset>
  );
}

interface ToolsProps {
  label: string;
  up: (() => void) | undefined;
  down: (() => void) | undefined;
  remove: () => void;
}

function Tools({ label, up, down, remove }: ToolsProps) {
  return (
    <Stack gap={4} pt={4}>
      <ActionIcon variant="subtle" color="gray" aria-label={`Move ${label} up`} disabled={!up} onClick={up}>
        <IconArrowUp size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon variant="subtle" color="gray" aria-label={`Move ${label} down`} disabled={!down} onClick={down}>
        <IconArrowDown size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon variant="subtle" color="red" aria-label={`Remove ${label}`} onClick={remove}>
        <IconTrash size={16} aria-hidden />
      </ActionIcon>
    </Stack>
  );
}
