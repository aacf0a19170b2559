// A table of objects of one kind, with the columns that their proto marks; only the rows that are seen are in the page.
import { getOption, ScalarType, type DescField } from "@bufbuild/protobuf";
import { Group, Stack, Text } from "@mantine/core";
import { useMemo } from "react";
import { useNavigate } from "react-router";
import { field_hint } from "../api/virtyard/api/type/v1/annotations_pb";
import { titleOf, type AnyObject } from "../live";
import { LockMark } from "../ui/LockMark";
import { LookBadge } from "../ui/LookBadge";
import { pageOf } from "../ui/pages";
import { ResourceLink } from "../ui/ResourceLink";
import { SeverityMark } from "../ui/SeverityMark";
import { useNarrow } from "../ui/use-narrow";
import { VirtualGrid, type Column } from "../ui/VirtualGrid";
import { FieldView } from "./FieldView";
import { fieldValue, labelOf } from "./fields";
import { KindIcon } from "./KindIcon";
import { stateLook, type ObjectKind } from "./kinds";

interface Props {
  kind: ObjectKind;
  objects: readonly AnyObject[];
  label: string;
  empty: string;
  /** The height that it takes at most, as CSS has it; as high as its rows if absent. */
  height?: string;
}

export function ObjectTable({ kind, objects, label, empty, height }: Props) {
  const narrow = useNarrow();
  const navigate = useNavigate();
  const columns = useMemo(() => columnsOf(kind), [kind]);
  const rows = Math.max(objects.length, 1);
  return (
    <VirtualGrid
      label={label}
      rows={objects}
      columns={columns}
      keyOf={({ name }) => name}
      narrow={narrow}
      cardHeight={58}
      card={(object) => (
        <Stack gap={0}>
          <NameCell object={object} kind={kind} />
          <Text size="sm" component="div">
            <LookBadge look={stateLook(object)} />
          </Text>
        </Stack>
      )}
      onOpen={({ name }) => void navigate(pageOf(name)!)}
      empty={<Text c="dimmed">{empty}</Text>}
      height={height ?? `min(26rem, ${rows * (narrow ? 58 : 36) + (narrow ? 4 : 42)}px)`}
    />
  );
}

const NAMES = new Set(["name", "display_name", "state"]);

function columnsOf(kind: ObjectKind): readonly Column<AnyObject>[] {
  const more = kind.message.fields.filter((field) => getOption(field, field_hint).column && !NAMES.has(field.name));
  return [
    {
      key: "name",
      title: "Name",
      width: "minmax(11rem, 1.6fr)",
      cell: (object) => <NameCell object={object} kind={kind} />,
    },
    { key: "state", title: "State", width: "8rem", cell: (object) => <LookBadge look={stateLook(object)} /> },
    ...more.map((field) => fieldColumn(kind, field)),
  ];
}

function fieldColumn(kind: ObjectKind, field: DescField): Column<AnyObject> {
  return {
    key: field.name,
    title: labelOf(field),
    width: field.fieldKind === "scalar" && field.scalar !== ScalarType.STRING ? "minmax(6rem, 0.7fr)" : "minmax(8rem, 1fr)",
    cell: (object) => <FieldView value={fieldValue(kind.message, object, field)} />,
  };
}

function NameCell({ object, kind }: { object: AnyObject; kind: ObjectKind }) {
  return (
    <Group gap={6} wrap="nowrap" miw={0}>
      <KindIcon collection={kind.collection} size={16} />
      <Text size="sm" truncate component="span">
        <ResourceLink name={object.name} text={titleOf(object)} />
      </Text>
      <SeverityMark name={object.name} />
      <LockMark name={object.name} />
    </Group>
  );
}
