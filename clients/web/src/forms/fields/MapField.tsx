// A map, as the labels of an object: rows of a key and a value.
import { ActionIcon, Group, TextInput } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useField, useForm } from "../context";
import { emptyDraft, nextId, pathText, type Pair, type Path } from "../draft";
import type { FieldSpec } from "../spec";
import { FieldView, type FieldProps } from "./FieldView";
import { Several } from "./Several";

interface Props extends FieldProps {
  value: FieldSpec;
}

export function MapField({ spec, path, value: valueSpec }: Props) {
  const { value, change, error, id } = useField<Pair[]>(path);
  const label = spec.label.replace(/s$/, "").toLowerCase();
  return (
    <Several id={id} spec={spec} error={error} noun={label} onAdd={() => change([...value, { id: nextId(), key: "", value: emptyDraft(valueSpec.control) }])}>
      {value.map((pair, index) => (
        <MapRow
          key={pair.id}
          pair={pair}
          path={[...path, index]}
          spec={valueSpec}
          label={`${label} ${index + 1}`}
          rename={(key) => change(value.map((other) => (other.id === pair.id ? { ...other, key } : other)))}
          remove={() => change(value.filter((other) => other.id !== pair.id))}
        />
      ))}
    </Several>
  );
}

interface RowProps {
  pair: Pair;
  path: Path;
  spec: FieldSpec;
  label: string;
  rename: (key: string) => void;
  remove: () => void;
}

function MapRow({ pair, path, spec, label, rename, remove }: RowProps) {
  const error = useForm().errors[pathText(path)];
  const { change } = useField<string>(path);
  return (
    <Group gap="xs" align="flex-start" wrap="nowrap">
      <TextInput
        flex={1}
        aria-label={`Key of ${label}`}
        placeholder="key"
        spellCheck={false}
        autoComplete="off"
        error={error}
        value={pair.key}
        onChange={(event) => rename(event.currentTarget.value)}
      />
      {spec.control.kind === "text" ? (
        <TextInput
          flex={1}
          aria-label={`Value of ${label}`}
          placeholder="value"
          autoComplete="off"
          value={pair.value as string}
          onChange={(event) => change(event.currentTarget.value)}
        />
      ) : (
        <FieldView spec={spec} path={path} />
      )}
      <ActionIcon variant="subtle" color="red" mt={4} aria-label={`Remove ${label}`} onClick={remove}>
        <IconTrash size={16} aria-hidden />
      </ActionIcon>
    </Group>
  );
}
