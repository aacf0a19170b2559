// Tables of what belongs to an object: the members and machines of a pool, the disks and cards of a machine.
import { Stack, Title } from "@mantine/core";
import { useMemo } from "react";
import { useObjects, type AnyObject } from "../live";
import { quoted } from "../ui/filter-text";
import { capital, kindOf, type ObjectKind } from "./kinds";
import { ObjectTable } from "./ObjectTable";
import { relationsOf, type Relation } from "./related";

export function RelatedTables({ kind, object }: { kind: ObjectKind; object: AnyObject }) {
  const relations = useMemo(() => relationsOf(kind, object), [kind, object]);
  return relations.map((relation) =>
    relation.refers ? (
      <Referring key={relation.collection} relation={relation} />
    ) : (
      <Named key={relation.collection} relation={relation} />
    ),
  );
}

function Referring({ relation }: { relation: Relation }) {
  const { value } = useObjects(relation.collection);
  const objects = useMemo(() => (value as readonly AnyObject[]).filter((each) => relation.refers!(each)), [value, relation]);
  return <Related relation={relation} objects={objects} />;
}

// A filter has an end; an object with more parts than this lists them on the page of their kind.
const MOST = 30;

function Named({ relation }: { relation: Relation }) {
  const filter = relation.names!.slice(0, MOST).map((name) => `name = ${quoted(name)}`).join(" OR ");
  const { value } = useObjects(relation.collection, filter);
  return <Related relation={relation} objects={value} />;
}

function Related({ relation, objects }: { relation: Relation; objects: readonly AnyObject[] }) {
  const kind = kindOf(relation.collection)!;
  if (objects.length === 0) return null;
  const title = `${capital(kind.plural)} (${objects.length})`;
  return (
    <Stack gap="xs">
      <Title order={2} size="h3">
        {title}
      </Title>
      <ObjectTable kind={kind} objects={objects} label={capital(kind.plural)} empty="" />
    </Stack>
  );
}
